"""The shape every stage has, and the workspace it runs in; knows no particular stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from onnxbuild.base.diagnostics import Remark
from onnxbuild.recipe.types import Choice

P = TypeVar("P", bound=msgspec.Struct)
F = TypeVar("F", bound=msgspec.Struct)


Told = Callable[[str], Any]
"""Returns the facts of the action that delivers an input, by the input's label; None where there is no such input."""


@dataclass(frozen=True)
class Workspace:
    """Where one action runs. The engine made it; the working directory is `recipe_folder`.

    `inputs` maps each input's label to a read-only folder that holds the artifact's files; `files` maps each
    label of a file or folder named by the recipe to where it is; each output is a folder below `out`. `seconds` of wall
    time are what the action may take; `leave_fork` is called at the end of every process that the stage forks;
    `locked` is what a search tries first, unless it is to `remeasure`; `machine` is the class of this machine as far as
    it is in the key; `journal` is the file in which the engine reads how far a long stage is.
    """

    inputs: dict[str, Path]
    files: dict[str, Path]
    out: Path
    scratch: Path
    recipe_folder: Path
    warnings: list[Remark] = field(default_factory=list)
    seen: list[Path] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    seconds: float = 1800.0
    leave_fork: Callable[[], None] = lambda: None
    locked: Choice | None = None
    remeasure: bool = False
    machine: str = ""
    journal: Path | None = None

    def output(self, name: str) -> Path:
        """Return the new, empty folder of the output artifact `name`."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def saw(self, path: Path) -> None:
        """Record a file that was read in a way Python's audit hook does not see, such as external data."""
        self.seen.append(path)

    def tell(self, message: str) -> None:
        """Say how far the stage is, for those who wait."""
        if self.journal is not None:
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(message.replace("\n", " ") + "\n")

    def used(self, module: str) -> None:
        """Record a module that only a file of the model told to be needed; its package's version is an input."""
        self.modules.append(module)

    def warn(self, code: str, message: str) -> None:
        """Record a warning for the console, the trace and the report."""
        self.warnings.append(Remark(code, message))


@dataclass(frozen=True)
class Stage(Generic[P, F]):
    """A kind of step. `version` goes into every key and rises with each change of what `run` delivers.

    `packages` names the distributions whose versions are in the key for given parameters; `preload` the modules
    a worker imports before it forks; `runs_user_code` whether `run` calls Python that the recipe names. `unkeyed`
    names parameters that are limits: in no key; instead `holds` tells whether what was measured once keeps them.
    `honours` tells of a search whether it chose as the lock has it, or could not.
    `threads` are the cores that `run` keeps busy; it may ask what the makers of its inputs told. `seconds` is what to
    expect of an action while none was ever measured. `only_reads` says that `run` neither writes to its inputs' files
    nor hands them to a tool that refuses hard links, as onnx.load, onnx.checker and onnx_ir's external tensors do.
    `hardware` tells whether what it delivers depends on the machine: then the hardware class is in the key. `cores`
    tells whether it depends on how many cores there are, `devices` whether it looks for a device besides the CPU: then
    these are in the key too, devices with their driver, and none is hidden from it.
    `alone` says that it measures time and memory: nothing runs beside it, and `make --remeasure` runs it again.
    """

    name: str
    version: int
    params: type[P]
    facts: type[F]
    run: Callable[[P, Workspace], F]
    packages: Callable[[P], tuple[str, ...]]
    preload: Callable[[P], tuple[str, ...]]
    runs_user_code: Callable[[P], bool]
    unkeyed: tuple[str, ...] = ()
    holds: Callable[[P, F], bool] = lambda params, facts: True
    threads: Callable[[P, Told], int] = lambda params, told: 1
    seconds: float = 1.0
    only_reads: bool = False
    honours: Callable[[Choice, F], bool] = lambda choice, facts: True
    hardware: Callable[[P], bool] = lambda params: False
    cores: Callable[[P], bool] = lambda params: False
    alone: bool = False
    devices: Callable[[P], bool] = lambda params: False


AnyStage = Stage[Any, Any]
