"""One written document against its schema: every error in our words and at its place, and the document without them.

Knows nothing of merging. Fast when all is well: msgspec decides, and jsonschema is imported only to explain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from onnxbuild.base.diagnostics import did_you_mean
from onnxbuild.recipe.known import PROVIDERS
from onnxbuild.recipe.node import Entry, Node, Path, find, key_place, plain, renamed, value_place, without
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.raw import Raw, RawProject, RawRecipe
from onnxbuild.recipe.remedies import meant, remedy
from onnxbuild.recipe.schema import Schema, schema_of
from onnxbuild.recipe.wording import describe, dotted, is_url, show

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

NAMED = frozenset({"inputs", "outputs", "dynamic_axes", "variants", "providers"})
"""Keys whose mappings hold names of the user's and so no `x-...` keys."""
FREE = frozenset({"args", "metadata", "options", "expect"})
"""Keys below which everything is the user's."""
_NOT_IN_LAYER = {"source", "name", "format", "variants"}


@dataclass
class Examined:
    """A document that fits its schema, after what did not fit was taken out; `broken` names the sections touched."""

    root: Node
    broken: set[str] = field(default_factory=set)


def examine(root: Node, kind: type[Raw], problems: Problems) -> Examined:
    """Return the document without `x-...` keys and without what does not fit `kind`, after noting each misfit.

    A misspelt key goes on under the name it is nearest to, so that one typing error causes one message.
    """
    root = _without_extensions(root, problems)
    examined = Examined(root)
    for _ in range(4):
        try:
            msgspec.convert(plain(examined.root), kind)
            return examined
        except msgspec.ValidationError:
            if not _mend(examined, kind, problems):
                break
    msgspec.convert(plain(examined.root), kind)  # a misfit that only msgspec sees is our bug: the two must agree
    return examined


def _without_extensions(node: Node, problems: Problems, *, named: bool = False) -> Node:
    if isinstance(node.value, list):
        return Node([_without_extensions(item, problems) for item in node.value], node.place)
    if isinstance(node.value, str) and "${" in node.value:
        hint = "write the value itself, or read it in user code with `env`"
        problems.error("no-variables", "a recipe has no ${...} variables", node.place, hint=hint)
    if not isinstance(node.value, dict):
        return node
    entries = {}
    for key, entry in node.value.items():
        if not named and key.startswith("x-"):
            continue
        free = not named and (key in FREE or key == "description")
        inner = entry.node if free else _without_extensions(entry.node, problems, named=not named and key in NAMED)
        entries[key] = entry if inner is entry.node else Entry(entry.place, inner)
    return Node(entries, node.place)


def _mend(examined: Examined, kind: type[Raw], problems: Problems) -> bool:
    """Note every misfit and take it out; return whether there was one."""
    root = examined.root
    errors = list(_validator(kind).iter_errors(plain(root)))
    schema = schema_of(kind)
    for error in errors:
        for misfit in _misfits(error, schema["$defs"]):
            _note(misfit, root, kind, problems)
            path, key = misfit.path, misfit.mended
            if key is not None:
                examined.root = renamed(examined.root, path, key)
                continue
            if misfit.code != "unknown-key":
                examined.broken.add(_section(path))
            while path and isinstance(path[-1], int):
                path = path[:-1]
            if path and find(examined.root, path) is not None:
                examined.root = without(examined.root, path)
            elif not path:
                examined.root = Node({}, root.place)
    return bool(errors)


def _section(path: Path) -> str:
    if len(path) > 2 and path[0] == "variants":
        return str(path[2])
    if len(path) > 1 and path[0] == "defaults":
        return str(path[1])
    return str(path[0]) if path else "format"


@dataclass(frozen=True)
class _Misfit:
    path: Path
    code: str
    message: str
    at_key: bool = False
    hint: str | None = None
    mended: str | None = None


def _note(misfit: _Misfit, root: Node, kind: type[Raw], problems: Problems) -> None:
    place = (key_place if misfit.at_key else value_place)(root, misfit.path)
    hint = misfit.hint
    last, depth = misfit.path[-1] if misfit.path else None, len(misfit.path)
    in_variant = kind is RawRecipe and depth == 3 and misfit.path[0] == "variants"
    in_defaults = kind is RawProject and depth == 2 and misfit.path[0] == "defaults"
    if misfit.code == "unknown-key" and last in _NOT_IN_LAYER and (in_variant or in_defaults):
        where = "a variant" if in_variant else "`defaults`"
        problems.error("not-in-variant", f"{where} cannot hold '{last}'", place, hint="write it in the recipe itself")
        return
    problems.error(misfit.code, misfit.message, place, hint=hint)


def _misfits(error: ValidationError, definitions: Schema, prefix: Path = ()) -> Iterator[_Misfit]:
    path = (*prefix, *error.path)
    schema: Any = error.schema
    instance: Any = error.instance
    if "propertyNames" in error.schema_path:
        yield _name_misfit((*path, str(instance)), schema, definitions)
    elif error.validator == "additionalProperties":
        yield from _unknown_keys(path, instance, schema)
    elif error.validator == "anyOf":
        yield from _union_misfits(error, path, definitions)
    elif error.validator in ("required", "minProperties", "maxProperties"):
        return  # `format`, and one key in each pass: said with what else a recipe must hold, see `build`
    else:
        yield _value_misfit(path, instance, schema, definitions)


def _union_misfits(error: ValidationError, path: Path, definitions: Schema) -> Iterator[_Misfit]:
    """Go on into the one alternative that a mapping or list can have been meant as, else say what is possible."""
    branches: dict[Any, list[ValidationError]] = {}
    for sub in error.context or ():
        branches.setdefault(sub.schema_path[0], []).append(sub)
    if isinstance(error.instance, dict | list):
        for subs in branches.values():
            if not any(_refuses_whole(sub) for sub in subs):
                for sub in subs:
                    yield from _misfits(sub, definitions, path)
                return
    yield _value_misfit(path, error.instance, error.schema, definitions)  # type: ignore[arg-type]  # as above


def _refuses_whole(error: ValidationError) -> bool:
    """Whether an alternative has no use for a value of this kind at all, rather than for something in it."""
    return error.validator in ("type", "enum") and not error.path and "propertyNames" not in error.schema_path


def _value_misfit(path: Path, value: Any, schema: Schema, definitions: Schema) -> _Misfit:
    name = f"`{dotted(path)}`" if path else "the file"
    if is_url(value):
        message = f"{name} is a URL; a recipe names files"
        return _Misfit(path, "url-as-path", message, hint="download it and write its path")
    allowed = describe(schema, definitions)
    words = [str(w) for w in _words(schema)]
    code = "wrong-value" if _fits_type(value, schema, definitions) else "wrong-type"
    hint = remedy(path, value)
    if hint is None and isinstance(value, str) and words:
        hint = did_you_mean(value, words)
    if isinstance(value, str) and hint is None and value.lower() in ("yes", "no", "on", "off") and "true" in allowed:
        hint = f"write {'true' if value.lower() in ('yes', 'on') else 'false'}"
    if value == -1 and "a name such as" in allowed:
        hint = "name a dynamic axis and declare it under `dynamic_axes`"
    return _Misfit(path, code, f"{name} must be {allowed}, not {show(value)}", hint=hint)


def _name_misfit(path: Path, schema: Schema, definitions: Schema) -> _Misfit:
    name, where = str(path[-1]), dotted(path[:-1])
    hint = None
    if where.endswith("providers"):
        hint = meant("providers", name) or did_you_mean(name, [*PROVIDERS, *PROVIDERS.values()])
    allowed = describe({"type": "string", **schema}, definitions)
    return _Misfit(path, "wrong-name", f"a key of `{where}` must be {allowed}, not '{name}'", at_key=True, hint=hint)


def _unknown_keys(path: Path, instance: dict[str, Any], schema: Schema) -> Iterator[_Misfit]:
    known = list(schema["properties"])
    where = f" in `{dotted(path)}`" if path else ""
    free = [key for key in known if key not in instance]
    for key in instance:
        if key not in known and not key.startswith("x-"):
            hint = did_you_mean(key, known) or f"known keys: {', '.join(known)}"
            near = did_you_mean(key, free)
            mended = near.split("'")[1] if near is not None and near == hint else None
            if mended is not None:
                free.remove(mended)
            yield _Misfit((*path, key), "unknown-key", f"unknown key '{key}'{where}", True, hint, mended)


def _words(schema: Schema) -> list[Any]:
    found = list(schema.get("enum", []))
    for branch in schema.get("anyOf", []):
        found += branch.get("enum", [])
    return found


def _fits_type(value: Any, schema: Schema, definitions: Schema) -> bool:
    """Whether a value of this type could have been right."""
    if "$ref" in schema:
        return isinstance(value, dict)
    if "anyOf" in schema:
        return any(_fits_type(value, branch, definitions) for branch in schema["anyOf"])
    if "enum" in schema:
        return any(type(value) is type(word) for word in schema["enum"])
    kinds: dict[str, tuple[type, ...]] = {
        "integer": (int,), "number": (int, float), "string": (str,), "boolean": (bool,), "array": (list,),
        "object": (dict,),
    }  # fmt: skip
    kind = str(schema.get("type"))
    return isinstance(value, kinds.get(kind, ())) and (kind == "boolean" or not isinstance(value, bool))


@cache
def _validator(kind: type[Raw]) -> Validator:
    """Return a validator for which 17.0 is no integer and 1.0 or true is not the word 1."""
    from jsonschema import Draft202012Validator, ValidationError, validators  # only a document with errors pays for it

    def is_integer(_checker: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def enum(_validator: object, words: list[Any], value: Any, _schema: Schema) -> Iterator[ValidationError]:
        if not any(type(word) is type(value) and word == value for word in words):
            yield ValidationError("not one of the words")

    strict = validators.extend(  # type: ignore[no-untyped-call]  # the stubs leave it out
        Draft202012Validator,
        {"enum": enum},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer),
    )
    result: Validator = strict(schema_of(kind))
    return result
