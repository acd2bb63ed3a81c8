"""The k smallest magnitudes of one or many tensors, exactly and one tensor at a time; knows arrays only.

A float's magnitude orders as its bits do, so the k-th smallest is found digit by digit: one pass over the tensors
counts the elements by 16 bits, the next refines within the digit found. Neither memory nor the machine's sorting
matters to the answer, and of equal magnitudes the first in order are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

DIGIT = 16
BLOCK = 1 << 22
"""Elements looked at together."""


@dataclass(frozen=True)
class Cut:
    """Which elements of one tensor are among the k smallest: all under `key`, and the first `ties` equal to it."""

    key: int
    ties: int
    wide: bool


def cut(tensors: Sequence[ir.TensorProtocol], sparsity: float) -> list[Cut]:
    """Return for each tensor the cut that takes round(sparsity * elements) smallest magnitudes over all of them."""
    wide = any(tensor.dtype == ir.DataType.DOUBLE for tensor in tensors)
    wanted = round(sparsity * sum(tensor.size for tensor in tensors))
    if wanted == 0:
        return [Cut(key=0, ties=0, wide=wide) for _ in tensors]
    key, under = _kth_key(tensors, wanted, wide)
    left = wanted - under
    cuts = []
    for tensor in tensors:
        equal = sum(int(np.count_nonzero(keys == key)) for keys in _keys(tensor.numpy(), wide))
        cuts.append(Cut(key=key, ties=min(left, equal), wide=wide))
        left -= cuts[-1].ties
    return cuts


def mask_below(array: np.ndarray, cut: Cut) -> np.ndarray:
    """Return the mask of the elements that `cut` takes."""
    mask = np.empty(array.size, dtype=bool)
    at, ties = 0, cut.ties
    for keys in _keys(array, cut.wide):
        part = keys < cut.key
        if ties:
            equal = np.flatnonzero(keys == cut.key)[:ties]
            part[equal] = True
            ties -= equal.size
        mask[at : at + keys.size] = part
        at += keys.size
    return mask.reshape(array.shape)


def _kth_key(tensors: Sequence[ir.TensorProtocol], k: int, wide: bool) -> tuple[int, int]:
    """Return the k-th smallest key over all tensors (from 1) and how many keys are under it."""
    bits = 64 if wide else 32
    prefix, under = 0, 0
    for shift in range(bits - DIGIT, -1, -DIGIT):
        counts = np.zeros(1 << DIGIT, dtype=np.int64)
        for tensor in tensors:
            for keys in _keys(tensor.numpy(), wide):
                if shift + DIGIT < bits:
                    keys = keys[keys >> keys.dtype.type(shift + DIGIT) == prefix]
                digits = (keys >> keys.dtype.type(shift)) & keys.dtype.type((1 << DIGIT) - 1)
                counts += np.bincount(digits.astype(np.int64), minlength=1 << DIGIT)
        digit = int(np.searchsorted(np.cumsum(counts), k - under, side="left"))
        under += int(counts[:digit].sum())
        prefix = (prefix << DIGIT) | digit
    return prefix, under


def _keys(array: np.ndarray, wide: bool) -> Iterator[np.ndarray]:
    """Yield the magnitudes of `array` as unsigned integers of the same order, in blocks, in C order; NaN is largest."""
    flat = np.ascontiguousarray(array).reshape(-1)
    real, whole = (np.float64, np.uint64) if wide else (np.float32, np.uint32)
    for start in range(0, flat.size, BLOCK):
        yield np.abs(flat[start : start + BLOCK].astype(real)).view(whole)
