"""The lock beside a recipe: what was accepted of each target, read strictly and written for text diffs; judges nothing.

It grows by optional fields; what an older version does not know it refuses, so that nothing accepted is overlooked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from onnxbuild.base.codec import to_builtins
from onnxbuild.base.diagnostics import Place
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.types import Choice, TunedSession

FORMAT = 1
ENDING = ".lock.json"
Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Bytes of files: what no file system holds is no size, and no number to calculate with."""
_ROUNDING = 1e-9
"""How far two sums of the same numbers may be apart, relatively."""


class LockedMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The task metric on one provider, with the interval in which it lies where that was measured."""

    name: str
    model: float | None = None
    source: float | None = None
    interval: tuple[float, float] | None = None

    def covers(self, value: float | None) -> bool:
        """Tell whether `value` is the accepted one but for noise; without a recorded interval it must be equal."""
        if value is None or self.model is None:
            return value == self.model
        if self.interval is None:
            return math.isclose(value, self.model, rel_tol=_ROUNDING)
        low, high = self.interval
        return value == self.model or low <= value <= high


class LockedPlacement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many nodes a provider got, of how many; `absent` says why nothing is known: there was no such provider."""

    nodes: int = 0
    of: int = 0
    absent: str | None = None


class LockedEstimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A time or a size that was measured, with its interval; `high` None: unbounded."""

    value: float
    low: float
    high: float | None = None

    def overlaps(self, other: LockedEstimate) -> bool:
        """Tell whether both may be the same value but for noise."""
        return (self.high is None or other.low <= self.high) and (other.high is None or self.low <= other.high)


class LockedTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was accepted of one target.

    `recipe` is the digest of the recipe's text, `sources` are those of the recipe's files and of what its code read,
    `output` of the delivered model's files, `bytes` their size. `interface` maps "input x" to "float32 [batch, 64]",
    `axes` a dynamic axis to its range, `operators` count nodes, `structure` is the digest of the graph without the
    values of its weights. `metrics` and `placement` are by provider, `measured` and `limits`, what was required of it,
    by gate ("tolerance.metric@cpu"). `sessions` are what was chosen by measuring, by class of machine; `latencies` are
    milliseconds ("p50, batch 1@cpu"), `memory` bytes by provider, where a benchmark measured them. `hardware` is the
    class of the machine that measured, with so many `cores`, `built_on` of the one that made the model, "" where that
    is the same. `waivers` map a failed gate to the reason why it was accepted.
    """

    verdict: str
    recipe: str = ""
    sources: dict[str, str]
    output: dict[str, str]
    bytes: Size | None = None
    opset: dict[str, int]
    ir_version: int
    interface: dict[str, str] = {}
    axes: dict[str, str] = {}
    nodes: int | None = None
    operators: dict[str, int] = {}
    structure: str = ""
    choice: Choice | None = None
    reverted: tuple[str, ...] = ()
    measured: dict[str, float | str | None] = {}
    limits: dict[str, str] = {}
    metrics: dict[str, LockedMetric] = {}
    placement: dict[str, LockedPlacement] = {}
    sessions: dict[str, TunedSession] = {}
    latencies: dict[str, LockedEstimate] = {}
    memory: dict[str, LockedEstimate] = {}
    hardware: str
    cores: int | None = None
    built_on: str = ""
    versions: dict[str, str]
    waivers: dict[str, str] = {}

    @property
    def maker(self) -> str:
        """The class of the machine that made the model."""
        return self.built_on or self.hardware


Lock = dict[str, LockedTarget]
"""The accepted targets of a recipe by variant."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    targets: dict[str, msgspec.Raw]


def lock_path(recipe: str) -> str:
    """Return the path of the lock beside a recipe's file."""
    folder, slash, name = recipe.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0]}{ENDING}"


def read_lock(root: Path, file: str, problems: Problems, variants: Iterable[str] | None = None) -> Lock:
    """Return the lock `file` of the project at `root`, empty where there is none, after noting what is wrong with it.

    With `variants` an entry that belongs to none of them is noted as a warning.
    """
    try:
        text = (root / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems.error("broken-lock", f"the lock cannot be read: {error}", Place(file, 1, 1))
        return {}
    return parse_lock(text, file, problems, variants)


def parse_lock(text: str, file: str, problems: Problems, variants: Iterable[str] | None = None) -> Lock:
    """Return the lock that a text is, after noting what is wrong with it; `variants` as in `read_lock`."""
    problems.add_text(file, text)
    content = _parse(text, file, problems)
    lock: Lock = {}
    for variant, raw in content.targets.items() if content is not None else ():
        if variants is not None and variant not in variants:
            message = f"the lock has an entry for '{variant}', and the recipe has no such variant"
            hint = "the next `onnxbuild accept` of the recipe removes it"
            problems.warning("stale-lock", message, _place(text, file, variant), hint=hint)
            continue
        try:
            lock[variant] = msgspec.json.decode(raw, type=LockedTarget)
        except (msgspec.DecodeError, RecursionError) as error:
            _refuse(problems, text, file, variant, str(error))
    return lock


def encode_lock(lock: Lock) -> str:
    """Return the lock as its file holds it: sorted, one value a line."""
    content = {"format": FORMAT, "targets": to_builtins(lock)}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _parse(text: str, file: str, problems: Problems) -> _File | None:
    hint = "take it from version control again, or delete it and run onnxbuild accept"
    try:
        told = json.loads(text, object_pairs_hook=_unique)
        if isinstance(told, dict) and type(told.get("format")) is int and told["format"] != FORMAT:
            message = f"the lock has format {told['format']}, this version of onnxbuild knows {FORMAT}"
            problems.error("lock-format", message, _place(text, file, "format"), hint="update onnxbuild")
            return None
        return msgspec.json.decode(text, type=_File)
    except json.JSONDecodeError as error:
        merging = text.split("\n")[error.lineno - 1][:7] in ("<<<<<<<", "=======", ">>>>>>>")
        message = "the lock has an unresolved merge conflict" if merging else f"the lock is no JSON: {error.msg}"
        place = Place(file, error.lineno, error.colno)
        problems.error("broken-lock", message, place, hint=hint)
    except _TwiceError as error:
        problems.error("broken-lock", f"the key '{error}' stands twice", _place(text, file, str(error)), hint=hint)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:  # NaN, half a surrogate, nesting, endless digits
        problems.error("broken-lock", f"the lock does not have its form: {error}", Place(file, 1, 1), hint=hint)
    return None


class _TwiceError(Exception):
    """A key stands twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _refuse(problems: Problems, text: str, file: str, variant: str, why: str) -> None:
    named = re.findall(r"\$((?:\.\w+|\[[^\]]*\])+)|field `(\w+)`", why)
    keys = [part for path, field in named for part in re.findall(r"\w+", path) or [field]]
    unknown = re.search(r"unknown field `(\w+)`", why)
    last = unknown[1] if unknown else next(iter(reversed(keys)), variant)
    hint = "update onnxbuild if a newer one wrote it, else delete it and run onnxbuild accept"
    message = f"the lock's entry for '{variant}' does not have its form: {why}"
    problems.error("broken-lock", message, _place(text, file, variant, last), hint=hint)


def _place(text: str, file: str, *keys: str) -> Place:
    """Return where the last of `keys` stands, each looked for after the one before; the nearest where one is not."""
    at = 0
    for key in keys:
        found = re.compile(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:").search(text, at)
        at = found.start() if found else at
    line = text.count("\n", 0, at)
    return Place(file, line + 1, at - (text.rfind("\n", 0, at) + 1) + 1)
