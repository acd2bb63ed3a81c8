"""Measuring one output against its reference, call by call, in double precision; knows no limits and no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import STRING, dtype_name
from onnxbuild.proof.frontier import EMPTY, extend_frontier
from onnxbuild.proof.measures import OutputMeasures, WithinShare, to_text
from onnxbuild.proof.percentile import Percentile

Doubles = NDArray[np.float64]

HISTOGRAM_EDGES = np.array([float(f"1e{exponent}") for exponent in range(-11, 4)])
"""Powers of ten that part the 16 bins of non-zero differences."""


def measure(
    name: str,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    within: Sequence[tuple[float, float]] = (),
    axis: int = -1,
) -> OutputMeasures:
    """Return the measures of (reference, model) arrays, one pair a call; axis 0 counts samples.

    `within` lists (atol, rtol) pairs whose share of elements is wanted; `axis` is that of the classes. Raises
    StageFailure (`output-shape`, `output-kind`) where a pair cannot be compared.
    """
    comparison = Comparison(name, tuple(within), axis)
    for reference, model in pairs:
        comparison.add(reference, model, reference.shape[0] if reference.ndim else 1)
    return comparison.result()


@dataclass
class Comparison:
    """One output's running comparison: `add` each call's pair, then take the `result`."""

    name: str
    within: tuple[tuple[float, float], ...] = ()
    axis: int = -1
    dtype: str = ""
    elements: int = 0
    unequal: int = 0
    nan_mismatches: int = 0
    nonfinite: int = 0
    samples: int = 0
    is_float: bool = False
    _calls: int = 0
    _sums: Doubles = field(default_factory=lambda: np.zeros(4))  # |d|, |d|/|r|, r^2, d^2
    _related: int = 0
    _max_abs: float = 0.0
    _max_rel: float = 0.0
    _abs: Percentile = field(default_factory=Percentile)
    _rel: Percentile = field(default_factory=Percentile)
    _cosine: float = np.inf
    _argmax: list[int] = field(default_factory=lambda: [0, 0])  # agreeing, all
    _worst: tuple[float, int] = (0.0, -1)
    _frontier: Doubles = field(default_factory=lambda: EMPTY)
    _inside: list[int] = field(default_factory=list)
    _histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(17, np.int64))

    def add(self, reference: np.ndarray, model: np.ndarray, samples: int) -> None:
        """Count one call that holds `samples` samples: rows where axis 0 has that size, else one in all."""
        reference, model = np.asarray(reference), np.asarray(model)
        self._check(reference, model)
        self.elements += model.size
        if self.is_float:
            self._add_floats(reference, model, samples)
        else:
            self.unequal += int(np.count_nonzero(reference != model))
        self.samples += samples
        self._calls += 1

    def _check(self, reference: np.ndarray, model: np.ndarray) -> None:
        where = f"output '{self.name}', call {self._calls}"
        if reference.shape != model.shape:
            message = f"{where}: the model gives shape {list(model.shape)}, the source {list(reference.shape)}"
            raise StageFailure("output-shape", message)
        dtypes = dtype_name(reference), dtype_name(model)
        if (STRING in dtypes) and dtypes[0] != dtypes[1]:
            raise StageFailure("output-kind", f"{where}: the model gives {dtypes[1]}, the source {dtypes[0]}")
        self.dtype = dtypes[1]
        self.is_float = self.is_float or any("float" in dtype for dtype in dtypes)

    def _add_floats(self, reference: np.ndarray, model: np.ndarray, samples: int) -> None:
        self._count_argmax(reference, model)
        r, x = reference.astype(np.float64), model.astype(np.float64)
        r_nan, x_nan = np.isnan(r), np.isnan(x)
        lost = r_nan != x_nan
        self.nonfinite += int(r.size - np.count_nonzero(np.isfinite(r)))
        same = (r == x) | (r_nan & x_nan)
        self.unequal += int(np.count_nonzero(~same))
        self.nan_mismatches += int(np.count_nonzero(lost))
        # Equal infinities and paired NaNs differ by nothing and would spoil every sum.
        idle = (same & ~np.isfinite(r)) | lost
        r[idle], x[idle] = 0, 0
        with np.errstate(over="ignore"):
            d = np.abs(x - r)
        self._add_samples(r, x, d, lost, samples)
        self._add_elements(np.abs(r).ravel(), d.ravel(), lost.ravel())

    def _add_elements(self, size: Doubles, d: Doubles, lost: NDArray[np.bool_]) -> None:
        """Count differences `d` of elements whose references have the magnitudes `size`, without the `lost` ones."""
        for i, (atol, rtol) in enumerate(self.within):
            if len(self._inside) <= i:
                self._inside.append(0)
            inside = (d <= atol + rtol * np.where(np.isfinite(size), size, 0)) & ~lost
            self._inside[i] += int(np.count_nonzero(inside))
        if lost.any():
            size, d = size[~lost], d[~lost]
        if not d.size:
            return
        related = size > 0
        with np.errstate(over="ignore", invalid="ignore"):
            relative = np.where(np.isinf(d[related]), np.inf, d[related] / size[related])
            self._sums += (d.sum(), relative.sum(), np.square(size).sum(), np.square(d).sum())
        self._related += relative.size
        self._max_abs = max(self._max_abs, float(d.max()))
        self._max_rel = max(self._max_rel, float(relative.max(initial=0.0)))
        self._abs.add(d)
        self._rel.add(relative)
        bins = np.where(d == 0, 0, 1 + np.searchsorted(HISTOGRAM_EDGES, d, side="right"))
        self._histogram += np.bincount(bins, minlength=17)
        self._frontier = extend_frontier(self._frontier, d, size)

    def _add_samples(self, r: Doubles, x: Doubles, d: Doubles, lost: NDArray[np.bool_], samples: int) -> None:
        if not r.size:
            return
        count = samples if r.ndim and r.shape[0] == samples else 1
        rows = (count, -1)
        self._cosine = float(np.minimum(self._cosine, cosines(r.reshape(rows), x.reshape(rows)).min()))
        worst = np.where(lost, np.inf, d).reshape(rows).max(axis=1)
        row = int(worst.argmax())
        if worst[row] > self._worst[0]:
            self._worst = float(worst[row]), self.samples + row

    def _count_argmax(self, reference: np.ndarray, model: np.ndarray) -> None:
        if not -reference.ndim <= self.axis < reference.ndim or reference.shape[self.axis] < 2 or not reference.size:
            return
        agree = argmax(reference, self.axis) == argmax(model, self.axis)
        self._argmax[0] += int(np.count_nonzero(agree))
        self._argmax[1] += agree.size

    def result(self) -> OutputMeasures:
        """Return the measures of all calls so far."""
        if not self.is_float or not self.elements:
            return OutputMeasures(name=self.name, dtype=self.dtype, elements=self.elements, unequal=self.unequal)
        counted = self.elements - self.nan_mismatches

        def shown(value: float | None) -> float | str | None:
            return "nan" if self.nan_mismatches else to_text(value)

        return OutputMeasures(
            name=self.name,
            dtype=self.dtype,
            elements=self.elements,
            unequal=self.unequal,
            max_abs=shown(self._max_abs),
            mean_abs=shown(self._sums[0] / max(counted, 1)),
            p99_abs=shown(self._abs.result()),
            max_rel=shown(self._max_rel if self._related else None),
            mean_rel=shown(self._sums[1] / self._related if self._related else None),
            p99_rel=shown(self._rel.result() if self._related else None),
            cosine=shown(self._cosine),
            sqnr_db=shown(sqnr_db(self._sums[2], self._sums[3])),
            argmax_agreement=self._argmax[0] / self._argmax[1] if self._argmax[1] else None,
            nan_mismatches=self.nan_mismatches,
            nonfinite=self.nonfinite,
            frontier=tuple((float(d), float(size)) for d, size in self._frontier),
            within=tuple(
                WithinShare(atol=atol, rtol=rtol, share=inside / self.elements)
                for (atol, rtol), inside in zip(self.within, self._inside, strict=True)
            ),
            histogram=tuple(int(n) for n in self._histogram),
            worst_sample=self._worst[1] if self._worst[1] >= 0 else None,
        )


def argmax(array: np.ndarray, axis: int) -> NDArray[np.int64]:
    """Return the first index of the largest value along `axis`; dtypes that numpy cannot order are widened first."""
    ordered = array if array.dtype.kind in "biuf" else array.astype(np.float32)
    return np.asarray(np.argmax(ordered, axis=axis))


def cosines(a: Doubles, b: Doubles) -> Doubles:
    """Return the cosine of each pair of rows of [n, k]s: 1 where both are zero, 0 where one is, NaN for infinities."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a_max, b_max = np.abs(a).max(axis=1, initial=0), np.abs(b).max(axis=1, initial=0)
        # Scaled first, so that the squares of large doubles do not overflow.
        a_unit, b_unit = a / np.where(a_max, a_max, 1)[:, None], b / np.where(b_max, b_max, 1)[:, None]
        norms = np.sqrt(np.square(a_unit).sum(axis=1) * np.square(b_unit).sum(axis=1))
        cosine = np.clip((a_unit * b_unit).sum(axis=1) / norms, -1, 1)
    cosine[(a_max == 0) | (b_max == 0)] = 0
    cosine[(a_max == 0) & (b_max == 0)] = 1
    return np.asarray(cosine)


def sqnr_db(signal: float, noise: float) -> float:
    """Return the signal-to-quantisation-noise ratio in dB of two sums of squares; infinite without noise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float("inf") if noise == 0 else float(10 * np.log10(np.float64(signal) / noise))
