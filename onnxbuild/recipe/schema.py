"""JSON Schemas (draft 2020-12) of recipes and of onnxbuild.yaml, made from `raw`; knows nothing of messages."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec

from onnxbuild.recipe.raw import Raw, RawProject, RawRecipe

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REQUIRED = {RawRecipe: ["format"]}


@cache
def schema_of(kind: type[Raw]) -> Schema:
    """Return the schema of `kind`, its definitions under `$defs`; shared, so not to be changed."""
    schema: Schema = msgspec.json.schema(kind)
    definitions: Schema = schema.pop("$defs")
    root = definitions.pop(kind.__name__)
    for definition in (root, *definitions.values()):
        _clean(definition)
        definition.pop("required", None)
    if kind in _REQUIRED:
        root["required"] = _REQUIRED[kind]
    names = {name: name.removeprefix("Raw") for name in definitions}
    text = json.dumps({"$schema": DIALECT, **root, "$defs": {names[n]: definitions[n] for n in sorted(definitions)}})
    for name, short in names.items():
        text = text.replace(f'"#/$defs/{name}"', f'"#/$defs/{short}"')
    result: Schema = json.loads(text)
    if kind is RawRecipe:
        result["$defs"]["Pass"] |= {"minProperties": 1, "maxProperties": 1}
    return result


def schema_text(kind: type[Raw] = RawRecipe) -> str:
    """Return the schema as the file in `schemas/` holds it."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


FILES: dict[str, type[Raw]] = {"recipe.schema.json": RawRecipe, "project.schema.json": RawProject}
"""The generated files of `schemas/`."""


def _clean(definition: Schema) -> None:
    title = definition.get("title", "")
    definition["title"] = title.removeprefix("Raw")
    if "properties" in definition:
        definition["patternProperties"] = {"^x-": {}}
        for schema in definition["properties"].values():
            schema.pop("default", None)
