"""Typed values to canonical JSON and back; a value of an unknown type is an error, never a constant."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A plain JSON value, as user arguments arrive from a recipe."""

_encoder = msgspec.json.Encoder(order="deterministic")


def encode(value: object) -> bytes:
    """Return the one JSON text of `value`: mapping keys sorted, struct fields in declared order.

    Raises TypeError for a type that has no canonical form.
    """
    return _encoder.encode(value)


def decode(data: bytes | memoryview | str, kind: type[T]) -> T:
    """Return the value of type `kind` that `data` encodes; raises msgspec.ValidationError when it does not fit."""
    return msgspec.json.decode(data, type=kind)


def to_builtins(value: object) -> Any:
    """Return `value` as plain dictionaries, lists and scalars."""
    return msgspec.to_builtins(value, str_keys=True, order="deterministic")
