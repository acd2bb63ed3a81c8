"""Schemas and values in a person's words ("a number from 0 to 1", "the text 'on'"); knows nothing of places."""

from __future__ import annotations

import re
from typing import Any, get_args

from onnxbuild.recipe import raw
from onnxbuild.recipe.known import PROVIDERS
from onnxbuild.recipe.schema import Schema


def _pattern(kind: object) -> str:
    return str(get_args(kind)[1].pattern)


_PHRASES = {
    _pattern(raw.Name): "a name of a-z, 0-9, '.', '_' and '-' that begins with a letter or digit and is not 'index'",
    _pattern(raw.AxisName): "a name such as 'batch'",
    _pattern(raw.FunctionName): "a function, written file.py:name",
    _pattern(raw.ProviderKey): f"an execution provider ({', '.join(PROVIDERS)})",
    _pattern(raw.Digest): "a SHA-256 of 64 lower-case hexadecimal digits",
    _pattern(raw.Percent): "a share such as '99%'",
    _pattern(raw.Size): "a size such as '200 MB'",
    _pattern(raw.Duration): "a duration such as '5 ms' or '30 min'",
    _pattern(raw.RatioOf): "a ratio such as '1.1x of fp32'",
    _pattern(raw.SizeOrRatioOf): "a size such as '2 MB' or a ratio such as '30% of fp32'",
    _pattern(raw.MetricLimit): "a share such as '99% of source' or '97%'",
}
_TYPES = {"boolean": "true or false", "null": "null", "array": "a list", "object": "a mapping"}
_LONGEST = 60


def describe(schema: Schema, definitions: Schema) -> str:
    """Return what the schema allows, as a phrase that fits after "must be"; null goes without saying."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        parts = [describe(s, definitions) for s in schema["anyOf"] if s.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in schema:
        words = [str(word) for word in schema["enum"]]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _number(schema, "a whole number" if kind == "integer" else "a number")
    if kind == "string":
        pattern = schema.get("pattern")
        if pattern in _PHRASES:
            return _PHRASES[pattern]
        return "magnitude, threshold or a pair such as '2:4'" if pattern else "a text"
    if kind == "object" and "properties" in schema:
        return f"a mapping with keys of {', '.join(schema['properties'])}"
    if kind == "array" and schema.get("minItems") is not None:
        return f"a list of {schema['minItems']} numbers"
    return _TYPES.get(str(kind), "another value")


def _number(schema: Schema, noun: str) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:g}" if high < 2**31 - 1 else f"{noun} of at least {low:g}"
    if low is not None:
        return f"{noun} of at least {low:g}"
    if "exclusiveMinimum" in schema:
        return f"{noun} above {schema['exclusiveMinimum']:g}"
    return noun


def show(value: Any) -> str:
    """Return the value as a message names it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text '{value if len(value) <= _LONGEST else value[:_LONGEST] + '…'}'"
    return "a mapping" if isinstance(value, dict) else "a list"


def dotted(path: tuple[str | int, ...]) -> str:
    """Return the path as people write it, such as `passes.0.custom`."""
    return ".".join(str(step) for step in path)


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(text: object) -> bool:
    """Whether a text names something on a network rather than a file."""
    return isinstance(text, str) and _URL.match(text) is not None
