"""One try of a pass, in a process of its own: applied, written, checked, loaded, run and compared; reverts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.apart import DiedError, HungError, run_apart
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.foreign import root_reason
from onnxbuild.proof.limits import coarsest
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import OutputTolerance, Pass
from onnxbuild.stages import tools
from onnxbuild.stages.reverts import Breakage, Sizes, Tested
from onnxbuild.stages.stage import Workspace

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from onnxbuild.data.calls import Calls

WORK = 10_000_000_000
"""Multiply-adds that the calls of one comparison may take in all; the smallest is always made."""

SHARE = 8
"""Into so many parts the action's time is cut; one try takes longer than one of them only when the tool hangs."""

REFUSED = frozenset(("unknown-pass", "unknown-model-type", "functions-not-supported", "model-too-large", "user-code"))
"""Failures that say what is wrong with the recipe or the model for this tool: nothing to revert."""

SOURCE_RUNS = "source-runs"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A StageFailure on its way from one process to another."""

    code: str
    message: str
    hint: str | None
    tool: str | None
    node: str | None
    traceback: str | None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one try came to; unless `broke`, the model lies in the bench's `candidate` folder."""

    changed: bool = False
    broke: Breakage | None = None
    measures: tuple[OutputMeasures, ...] = ()
    tested: Tested = Tested()
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Bench:
    """Where passes are tried: the entry, how its model is to be written, and what decides.

    `named` is a tenth of what the recipe tolerates, by output; `calls` are folders of calls.
    """

    step: Pass
    opset: int | None
    ir_version: int | None
    named: dict[str, OutputTolerance]
    calls: tuple[Path, ...]
    ws: Workspace
    counter: list[int] = field(default_factory=lambda: [0])

    @property
    def candidate(self) -> Path:
        """The folder of the model that the last try made."""
        return self.ws.scratch / "candidate"

    def attempt(self, source: Path, only: Sequence[str] | None) -> Trial:
        """Try the entry, or those of its parts in `only`, on the model in `source`.

        Raises StageFailure for what is not the pass's fault.
        """
        self.counter[0] += 1
        (self.ws.scratch / SOURCE_RUNS).unlink(missing_ok=True)
        name = tools.tool_name(self.step)
        try:
            data = run_apart(
                lambda: encode(self._try(source, only)),
                self.ws.scratch / "trial.json",
                self.ws.seconds / SHARE,
                self.ws.leave_fork,
            )
        except DiedError as died:
            if died.signal == 9:
                raise StageFailure("killed", f"{name} was killed from outside, as for want of memory") from None
            if (self.ws.scratch / SOURCE_RUNS).exists():
                raise StageFailure("probe-does-not-run", f"the model before {name} crashes on the probe data") from None
            return Trial(broke=Breakage(code="tool-crashed", message=f"its process {died}"))
        except HungError as hung:
            return Trial(broke=Breakage(code="tool-hung", message=f"it {hung}"))
        trial = decode(data, Trial)
        if trial.refusal is not None:
            refused = trial.refusal
            raise StageFailure(
                refused.code,
                refused.message,
                hint=refused.hint,
                tool=refused.tool,
                node=refused.node,
                traceback=refused.traceback,
            )
        return trial

    def _try(self, source: Path, only: Sequence[str] | None) -> Trial:
        try:
            return self._write_and_compare(source, only)
        except StageFailure as failure:
            if failure.code in REFUSED or failure.code == "probe-does-not-run":
                return Trial(
                    refusal=Refusal(
                        code=failure.code,
                        message=failure.message,
                        hint=failure.hint,
                        tool=failure.tool,
                        node=failure.node,
                        traceback=failure.traceback,
                    )
                )
            return Trial(broke=Breakage(code=failure.code, message=failure.message, node=failure.node))

    def _write_and_compare(self, source: Path, only: Sequence[str] | None) -> Trial:
        from onnxbuild.ir.model import MODEL
        from onnxbuild.stages import delivery
        from onnxbuild.stages.agreement import Disagreement, measure_agreement, run_sound

        name = tools.tool_name(self.step)
        try:
            model = tools.apply(self.step, source, only, self.ws.scratch, self.ws.files.get("custom"))
            folder = self.candidate
            delivery.write_changed(
                model, source, folder, name, opset=self.opset, ir_version=self.ir_version, load=False
            )
        except (StageFailure, MemoryError, NameError, ImportError):
            raise
        except Exception as error:  # a tool's result may be broken in any way
            text = f"{name} made a model that cannot be read or written: {root_reason(error, self.ws.scratch)}"
            raise StageFailure("invalid-model", text, tool=name) from error
        if delivery.is_same(source, folder):
            return Trial()
        calls, sizes, tested = self._choose(source)
        (self.ws.scratch / SOURCE_RUNS).touch()
        expected = run_sound(source / MODEL, calls)
        (self.ws.scratch / SOURCE_RUNS).unlink()
        sound = [i for i, outputs in enumerate(expected) if outputs is not None]
        tested = msgspec.structs.replace(
            tested,
            sizes=_distinct(sizes[i] for i in sound),
            skipped=_distinct([*(sizes[i] for i in range(len(sizes)) if i not in sound), *tested.skipped]),
        )
        try:
            measures = measure_agreement(
                [outputs for outputs in expected if outputs is not None],
                folder / MODEL,
                [calls[i] for i in sound],
                [sizes[i] for i in sound],
                self.named,
                tested.precision,
            )
        except Disagreement as found:
            if self._repeats_itself(source, expected, calls, sizes, tested.precision):
                return Trial(changed=True, broke=found.broke, tested=tested)
            unknown = msgspec.structs.replace(tested, sizes=(), skipped=_distinct([*tested.sizes, *tested.skipped]))
            return Trial(changed=True, tested=unknown)
        return Trial(changed=True, measures=measures, tested=tested)

    def _repeats_itself(
        self,
        source: Path,
        expected: Sequence[dict[str, np.ndarray] | None],
        calls: Sequence[dict[str, np.ndarray]],
        sizes: Sequence[Sizes],
        precision: str | None,
    ) -> bool:
        """Say whether the model before the pass computes the same twice; one that draws random numbers does not."""
        from onnxbuild.ir.model import MODEL
        from onnxbuild.ort.session import draw_anew
        from onnxbuild.stages.agreement import Disagreement, measure_agreement

        draw_anew()
        sound = [i for i, outputs in enumerate(expected) if outputs is not None]
        once = [outputs for outputs in expected if outputs is not None]
        chosen = [calls[i] for i in sound], [sizes[i] for i in sound]
        try:
            measure_agreement(once, source / MODEL, *chosen, self.named, precision)
        except Disagreement:
            return False
        return True

    def _choose(self, source: Path) -> tuple[list[dict[str, np.ndarray]], list[Sizes], Tested]:
        """Return the calls that are within the work budget, the cheapest first, their sizes, and what is left out."""
        import onnx

        from onnxbuild.data.calls import read_calls
        from onnxbuild.ir.model import MODEL, read_model
        from onnxbuild.ir.precision import float_dtypes
        from onnxbuild.ir.work import estimate

        proto = onnx.load(source / MODEL, load_external_data=False)
        found: list[tuple[int, int, Calls, int, dict[str, tuple[int, ...]]]] = []
        work: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = {}
        for folder in self.calls:
            calls = read_calls(folder)
            for i in usable(folder, calls):
                shapes = calls.dims(i)
                key = tuple(sorted(shapes.items()))
                if key not in work:
                    work[key] = estimate(proto, shapes)[0]
                found.append((work[key], len(found), calls, i, shapes))
        found.sort(key=lambda entry: entry[:2])
        chosen: list[dict[str, np.ndarray]] = []
        sizes: list[Sizes] = []
        skipped: list[Sizes] = []
        left = WORK
        for cost, _, calls, i, shapes in found:
            size = _sizes(proto, shapes)
            if chosen and cost > left:
                skipped.append(size)
                continue
            left -= cost
            chosen.append(calls[i])
            sizes.append(size)
        tested = [*sizes]
        return (
            chosen,
            sizes,
            Tested(
                skipped=_distinct(size for size in skipped if size not in tested),
                precision=coarsest(float_dtypes(read_model(source))),
            ),
        )


def usable(folder: Path, calls: Calls) -> list[int]:
    """Return the numbers of the calls to compare on: of those at the edges, all but the joint corner.

    That one is tried once, on the final model.
    """
    from onnxbuild.data.edges import INDEX, read_edges

    if not (folder / INDEX).exists():
        return list(range(len(calls)))
    return [number for number, (edge, _) in enumerate(read_edges(folder)) if not edge.corner]


def sizes_of(source: Path, call: Mapping[str, np.ndarray]) -> Sizes:
    """Return the size in `call` of each axis that the inputs of the model in `source` name."""
    import onnx

    from onnxbuild.ir.model import MODEL

    return _sizes(
        onnx.load(source / MODEL, load_external_data=False), {name: array.shape for name, array in call.items()}
    )


def _sizes(proto: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> Sizes:
    return {
        dim.dim_param: size
        for value in proto.graph.input
        if value.name in shapes
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=False)
        if dim.dim_param
    }


def _distinct(sizes: Iterable[Sizes]) -> tuple[Sizes, ...]:
    found: list[Sizes] = []
    for size in sizes:
        if size not in found:
            found.append(size)
    return tuple(found)
