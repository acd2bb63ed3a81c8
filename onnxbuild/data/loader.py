"""Calling a recipe's data loader; what it returns is a mapping of arrays or an iterable of mappings, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function, user_frames
from onnxbuild.recipe.types import Function

Loaded = Mapping[str, object] | Iterator[Mapping[str, object]]


def load(file: Path, function: Function) -> Loaded:
    """Return what the user's function returns, iterated lazily where it is a series of calls.

    Raises StageFailure (`user-code`) with the user's traceback when it raises, then or while iterated.
    """
    call = load_function(file, function.name)
    with user_frames(f"the loader '{function.name}'"):
        value = call(**function.args)
    if isinstance(value, Mapping):
        return value
    if _is_table(value) or isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _wrong(function.name, f"returned {_type(value)}")
    return _calls(value, function.name)


def _calls(value: Iterable[object], name: str) -> Iterator[Mapping[str, object]]:
    with user_frames(f"the loader '{name}'"):
        iterator = iter(value)
    while True:
        with user_frames(f"the loader '{name}'"):
            try:
                call = next(iterator)
            except StopIteration:
                return
        if not isinstance(call, Mapping):
            raise _wrong(name, f"gave {_type(call)} as a call")
        yield call


def _is_table(value: object) -> bool:
    """Whether iterating `value` gives columns' names or rows, as a DataFrame or an array does."""
    return hasattr(value, "columns") or hasattr(value, "__array__")


def _type(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace(" builtins.", " ")


def _wrong(name: str, what: str) -> StageFailure:
    return StageFailure(
        "loader-result",
        f"the loader '{name}' {what}; it must give a mapping of arrays by input name, or an iterable of such mappings",
    )
