"""Runs pieces of user code under a watch, each in a fork of one fresh interpreter as in workers; tells what was seen.

Audit hooks cannot be taken back: nothing of this may happen in the tests' own process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function
from onnxbuild.engine.discover import Watch
from onnxbuild.engine.findings import Declared
from onnxbuild.engine.packages import Owners, module_owners

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Case:
    """`prepare` runs before the watch, `code` is the body of run() in `user.py`, or that whole file, under it."""

    name: str
    code: str
    prepare: str = ""
    reads: tuple[str, ...] = ()
    strict: bool = False


@dataclass
class Seen:
    """What was discovered, by kind, the codes of the remarks and their texts, and how it failed if it did."""

    discovered: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    failure: str | None = None

    def names(self, kind: str) -> set[str]:
        """The names of one kind."""
        return {name for found, name, _ in self.discovered if found == kind}

    @property
    def files(self) -> set[str]:
        """The files, less the module itself."""
        return self.names("file") - {"user.py"}

    @property
    def codes(self) -> set[str]:
        """The codes of the remarks."""
        return {code for code, _ in self.remarks}

    def text(self, code: str) -> str:
        """The text of the one remark with a code."""
        (text,) = (text for found, text in self.remarks if found == code)
        return text


def watch(
    folder: Path, cases: Iterable[Case], *, preload: Sequence[str] = (), path: Sequence[Path] = ()
) -> dict[str, Seen]:
    """Run all cases, each in a project of its own below `folder`, and return what was seen by the case's name."""
    todo = []
    for case in cases:
        project = folder / case.name
        project.mkdir(parents=True)
        (project / "user.py").write_text(
            case.code if "def run" in case.code else f"def run():\n{indent(case.code, '    ')}"
        )
        todo.append([str(project), case.prepare, list(case.reads), case.strict])
    places = [str(REPOSITORY), *sys.path[1:], *map(str, path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-m", "tests.engine.watching"],
        input=json.dumps([todo, list(preload)]),
        env=environment,
        text=True,
        check=True,
        timeout=300,
    )
    return {Path(project).name: Seen(**json.loads(Path(f"{project}.json").read_text())) for project, *_ in todo}


def main() -> None:
    """Serve one call of `watch`."""
    todo, preload = json.load(sys.stdin)
    for name in preload:
        importlib.import_module(name)
    owners = module_owners()
    for project, prepare, reads, strict in todo:
        pid = os.fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0, project
            continue
        try:
            result = _watch_one(Path(project), prepare, Declared((), tuple(reads), strict), owners)
        except BaseException:
            result = {"failure": traceback.format_exc()}
        Path(f"{project}.json").write_text(json.dumps(result))
        os._exit(0)


def _watch_one(project: Path, prepare: str, declared: Declared, owners: Owners) -> dict[str, Any]:
    os.chdir(project)
    exec(prepare, {})
    scratch = project / "scratch"
    scratch.mkdir()
    sys.path.insert(0, str(project))
    watched = Watch(project, (), scratch, _external_data)
    watched.start()
    try:
        load_function(project / "user.py", "run")()
        discovered, remarks = watched.found(declared, owners)
    except StageFailure as failure:
        return {"failure": f"{failure.code}: {failure.message} {failure.traceback or ''}"}
    return {
        "discovered": [[found.kind, found.name, found.digest] for found in discovered],
        "remarks": [[remark.code, remark.message] for remark in remarks],
    }


def _external_data(file: str) -> list[str]:
    from onnxbuild.ir.external_data import external_data_of

    return external_data_of(file)


if __name__ == "__main__":
    main()
