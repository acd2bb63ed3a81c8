"""Other values for each leaf of a typed value, one at a time; knows msgspec's and dataclasses' fields, nothing else."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


def variations(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path of each leaf, and `value` with another value of the same type there.

    Of a mapping or a sequence its items are leaves, and besides it is tried with its last item left out. None becomes
    a text: whoever makes keys does not look at types.
    """
    match value:
        case bool():
            yield path, not value
        case enum.Enum():
            yield path, next(member for member in type(value) if member is not value)
        case int() | float():
            yield path, value + 1
        case str():
            yield path, value + "~"
        case None:
            yield path, "something"
        case Mapping():
            for name, item in value.items():
                for where, other in variations(item, f"{path}.{name}"):
                    yield where, {**value, name: other}
            yield f"{path}.new", {**value, "new": next(iter(value.values()), "something")}
        case tuple() | list():
            for number, item in enumerate(value):
                for where, other in variations(item, f"{path}.{number}"):
                    yield where, (*value[:number], other, *value[number + 1 :])
            yield f"{path}.length", value[:-1] if value else ("something",)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                for where, other in variations(getattr(value, name), f"{path}.{name}" if path else name):
                    yield where, msgspec.structs.replace(value, **{name: other})
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for name in (field.name for field in dataclasses.fields(value)):
                for where, other in variations(getattr(value, name), f"{path}.{name}" if path else name):
                    yield where, dataclasses.replace(value, **{name: other})
        case _:
            raise TypeError(f"{path}: {type(value).__name__}")
