"""The small models that show why a pass was left out or stopped a build; finds and copies them, runs nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode
from onnxbuild.engine.job import repro_of
from onnxbuild.engine.options import Places
from onnxbuild.engine.run import Outcome
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeFacts
from onnxbuild.stages.reverts import CASE, REPRO, Reverted
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.store import Store


@dataclass(frozen=True)
class Repro:
    """One case: the action, the pass and how it broke the model, and where its files lie.

    `artifact` is in the store; `kept` instead is a folder that a failed action left.
    """

    action: str
    reverted: Reverted
    artifact: Artifact | None
    kept: Path | None = None


def find_repros(actions: Iterable[str], outcomes: Mapping[str, Outcome], places: Places) -> list[Repro]:
    """Return the cases of `actions`, in order: of the traces that stand, else of the last run where that failed."""
    found = []
    for name in actions:
        outcome = outcomes.get(name)
        trace = outcome.trace if outcome is not None else None
        if trace is not None and trace.stage == OPTIMIZE.name:
            facts = msgspec.json.decode(trace.facts, type=OptimizeFacts)
            artifact = trace.outputs.get(REPRO)
            found += [Repro(name, reverted, artifact) for reverted in facts.reverted if artifact is not None]
        elif trace is None:
            found += [
                Repro(name, decode(case.read_bytes(), Reverted), None, case.parent)
                for case in sorted(repro_of(places.log(name)).glob(f"*/{CASE}"))
            ]
    return found


def copy_repros(repros: Sequence[Repro], out: Path, store: Store) -> list[Path]:
    """Copy the files of one case to `out`, of several each to a folder of its own below; return the folders.

    Raises CorruptBlobError.
    """
    folders = []
    for repro in repros:
        folder = (
            out if len(repros) == 1 else out / f"{re.sub('[^A-Za-z0-9._-]', '_', repro.action)}-{repro.reverted.repro}"
        )
        if repro.artifact is not None:
            prefix = f"{repro.reverted.repro}/"
            files = {n.removeprefix(prefix): b for n, b in repro.artifact.files.items() if n.startswith(prefix)}
            store.blobs.lay_out(Artifact(files), folder, writable=True)
        elif repro.kept is not None:
            shutil.copytree(repro.kept, folder, dirs_exist_ok=True)
        folders.append(folder)
    return folders
