"""How a run is to go and the folders that it writes in; knows nothing of plans."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.recipe.types import Limits


@dataclass(frozen=True)
class Options:
    """How to run: `jobs` at once, `keep_going` after failures, `dry_run` decides only, `force` runs everything,
    `remeasure` what measures time and memory, `rerun` the actions of these names.

    `hash_seed` is the workers': other than 0 only to see that results do not depend on it.
    """

    jobs: int = 1
    keep_going: bool = False
    dry_run: bool = False
    force: bool = False
    remeasure: bool = False
    rerun: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    hash_seed: int = 0


@dataclass(frozen=True)
class Places:
    """The folders of one project that the engine writes in; all absolute. `hidden` are never anyone's inputs."""

    root: Path
    state: Path
    logs: Path
    scratch: Path
    hidden: tuple[Path, ...]

    def log(self, action: str) -> Path:
        """Return the file that an action's processes write to."""
        return self.logs / (re.sub(r"[^A-Za-z0-9._@-]", "_", action) + ".log")
