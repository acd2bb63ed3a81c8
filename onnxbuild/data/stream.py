"""Calls that arrive one at a time, from a folder of .npz or a loader, fitted and counted; knows no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from onnxbuild.data.calls import Call
from onnxbuild.data.cut import Piece, Prepared, Sizes, with_unit_dim
from onnxbuild.data.fit import Declared, pick
from onnxbuild.recipe.types import Axis

Named = tuple[str, Mapping[str, object]]
"""Arrays with the words that name them in messages."""


def follow(calls: Iterable[Named], declared: Declared, labels: str | None, samples: int | None) -> Prepared:
    """Fit calls one at a time and stop after `samples` samples.

    A call counts as many samples as it has labels; without labels as many as its rows, where all inputs share a
    dynamic axis 0 and one has further dims; else as one. Only a call whose labels match its rows is ever shortened.
    Raises StageFailure while iterated.
    """
    return Prepared(_pieces(calls, declared, labels, samples))


def _pieces(calls: Iterable[Named], declared: Declared, labels: str | None, samples: int | None) -> Iterator[Piece]:
    total = 0
    for what, arrays in calls:
        found = {i.name: with_unit_dim(i, pick(arrays, i.name, what)) for i in declared.inputs}
        call = declared.fit(found, what)
        target = None if labels is None else pick(arrays, labels, what)
        piece = Piece(call, target, _count(call, target, declared))
        if samples is not None and total + piece.samples > samples and target is not None:
            piece = _shorten(piece, samples - total, declared)
        if piece.samples:
            yield piece
        total += piece.samples
        if samples is not None and (total >= samples or not piece.samples):
            return


def _count(call: Call, target: np.ndarray | None, declared: Declared) -> int:
    if target is not None:
        return target.shape[0] if target.ndim else 1
    shared = _shared_axis(declared)
    if shared is None or all(len(i.shape) < 2 for i in declared.inputs):
        return 1
    return int(next(call[i.name].shape[0] for i in declared.inputs if i.shape))


def _shorten(piece: Piece, room: int, declared: Declared) -> Piece:
    """Return the first `room` samples of the piece, or as many as a call may have; whole where rows are no samples."""
    axis = _shared_axis(declared)
    batched = [i.name for i in declared.inputs if i.shape]
    if axis is None or piece.labels is None or any(piece.call[n].shape[0] != piece.samples for n in batched):
        return piece
    keep = Sizes.of(axis).largest(room)
    call = {name: array[:keep] if name in batched else array for name, array in piece.call.items()}
    return Piece(call, piece.labels[:keep], keep)


def _shared_axis(declared: Declared) -> Axis | None:
    """Return the dynamic axis that is axis 0 of every input and nothing else, if there is one."""
    firsts = {i.shape[0] for i in declared.inputs if i.shape}
    if len(firsts) != 1:
        return None
    first = firsts.pop()
    if not isinstance(first, str) or any(first in i.shape[1:] for i in declared.inputs):
        return None
    return declared.axes[first]
