"""kill -9 of a whole build at random moments and at each thing it does to the file system."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.running import wait_for
from tests.project import ENVIRONMENT, MLP, Project, write_mlp
from tests.torture.ruins import assert_mends, assert_whole, outputs

KILLER = Path(__file__).parent / "killer"
ROOT = Path(__file__).parents[2]
SEED = 20261123


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that nobody has built."""
    project = Project(tmp_path_factory.mktemp("pristine") / "project")
    write_mlp(project)
    project.recipe("mlp", MLP)
    return project


@pytest.fixture(scope="module")
def clean(pristine: Project) -> dict[str, bytes]:
    """What a build that nobody disturbs delivers, in another folder."""
    project = copy(pristine, pristine.root.parent / "clean")
    assert project.make("-j2").code == 0
    return outputs(project)


def copy(project: Project, root: Path) -> Project:
    shutil.copytree(project.root, root)
    return Project(root)


def start(project: Project, *first: str) -> subprocess.Popen[str]:
    """Start a make with the folders `first` before others on the path of every interpreter."""
    return subprocess.Popen(
        [sys.executable, "-m", "onnxbuild", "make", "-j2"],
        cwd=project.root,
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([*first, str(ROOT)])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a make with all its workers and their children, wherever they have put themselves."""
    family = {process.pid: psutil.Process(process.pid)}
    while True:  # who is stopped starts nobody
        for member in family.values():
            member.suspend()
        found = {child.pid: child for child in family[process.pid].children(recursive=True)}
        if set(found) <= set(family):
            break
        family |= found
    for member in family.values():
        member.kill()
    process.wait()


# At random moments


@pytest.mark.parametrize("chunk", range(2))
def test_killed_at_random(pristine: Project, clean: dict[str, bytes], tmp_path: Path, chunk: int) -> None:
    kill_at_random(pristine, clean, tmp_path, range(4 * chunk, 4 * chunk + 4))


@pytest.mark.soak
@pytest.mark.parametrize("chunk", range(2, 25))
def test_killed_at_random_at_length(pristine: Project, clean: dict[str, bytes], tmp_path: Path, chunk: int) -> None:
    kill_at_random(pristine, clean, tmp_path, range(4 * chunk, 4 * chunk + 4))


def kill_at_random(pristine: Project, clean: dict[str, bytes], room: Path, numbers: range) -> None:
    """Kill a build several times at growing age, each time where the last was killed; then it must mend."""
    project = copy(pristine, room / "project")
    chance = random.Random(SEED + numbers.start)
    for _ in numbers:
        process = start(project)
        try:
            process.wait(chance.uniform(0.3, 4.0))
        except subprocess.TimeoutExpired:
            kill_all(process)
        else:
            shutil.rmtree(project.root / "build")
            shutil.rmtree(project.root / ".onnxbuild")
        assert process.stderr is not None
        process.stderr.close()
        assert_whole(project)
    assert_mends(project, clean)


# At each step


def run_to(project: Project, room: Path, at: int) -> tuple[int, list[str]]:
    """Run a make that is killed before its step `at` (-1: never); return its exit code and the steps it told."""
    room = room / f"room{at}"
    room.mkdir()
    killer = room / "killer"
    shutil.copytree(KILLER, killer, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("steps", "pids", "told"):
        (room / name).write_bytes(b"")
    (killer / "orders").write_text(f"{room}\n{at}\n")
    process = start(project, str(killer))
    _, err = process.communicate(timeout=120)
    pids = [int(pid) for pid in (room / "pids").read_text().split()]
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "the end of all processes", 20)
    assert at >= 0 or process.returncode == 0, err
    return process.returncode, (room / "told").read_text().splitlines()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def steps(pristine: Project, clean: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every step of an undisturbed build, in one order in which they may come."""
    room = tmp_path_factory.mktemp("steps")
    project = copy(pristine, room / "project")
    code, told = run_to(project, room, -1)
    assert code == 0
    assert outputs(project) == clean
    assert len(told) > 100
    kinds = {line.split(" ")[0] for line in told}
    assert {"open", "os.rename", "os.mkdir"} <= kinds
    return told


def kinds_of(steps: list[str]) -> list[int]:
    """Return the first step of each kind: equal events on equal sorts of names count once."""
    seen: dict[str, int] = {}
    for number, line in enumerate(steps):
        sort = re.sub(r"[0-9a-f]{64}|\b[0-9a-z_]{8}\b|/[^ ]*/", "*", line)
        seen.setdefault(sort, number)
    return sorted(seen.values())


def kill_at(pristine: Project, clean: dict[str, bytes], room: Path, at: int) -> None:
    project = copy(pristine, room / f"project-{at}")
    code, _ = run_to(project, room, at)
    assert code == -signal.SIGKILL
    assert_mends(project, clean)
    shutil.rmtree(project.root)


@pytest.mark.parametrize("part", range(3))
def test_killed_at_steps_of_many_kinds(
    pristine: Project, clean: dict[str, bytes], steps: list[str], tmp_path: Path, part: int
) -> None:
    chosen = random.Random(SEED + part).sample(kinds_of(steps), 3)
    for at in chosen:
        kill_at(pristine, clean, tmp_path, at)


def test_killed_while_pages_are_drawn(
    pristine: Project, clean: dict[str, bytes], steps: list[str], tmp_path: Path
) -> None:
    drawing = [at for at, step in enumerate(steps) if step.startswith("os.rename") and "/reports/." in step]
    for at in (drawing[len(drawing) // 2], drawing[-1]):
        kill_at(pristine, clean, tmp_path, at)


@pytest.mark.soak
@pytest.mark.parametrize("tenth", range(10))
def test_killed_at_every_step(
    pristine: Project, clean: dict[str, bytes], steps: list[str], tmp_path: Path, tenth: int
) -> None:
    for at in range(tenth, len(steps) - 5, 10):  # two workers at once: the number of steps differs by a few
        kill_at(pristine, clean, tmp_path, at)


# Only the make itself, or only a worker

SLEEPER = """\
import os, pathlib, subprocess, sys, time


def run(model):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    pathlib.Path({room!r}, "pids.new").write_text(f"{{os.getpid()}} {{child.pid}}")
    pathlib.Path({room!r}, "pids.new").rename(pathlib.Path({room!r}, "pids"))
    while not pathlib.Path({room!r}, "go").exists():
        sum(range(10_000))
        time.sleep(0.01)
    return model
"""


@pytest.fixture
def sleeping(pristine: Project, tmp_path: Path) -> Project:
    """A project whose optimize step waits for a file `go`, with a process of its own beside it."""
    project = copy(pristine, tmp_path / "project")
    project.write("recipes/passes/slow.py", SLEEPER.format(room=str(tmp_path)))
    project.recipe("mlp", MLP + "passes: [{custom: {function: passes/slow.py:run}}]\n")
    return project


@pytest.mark.parametrize("victim", ["make", "worker"])
def test_what_a_killed_process_started_ends_by_itself(sleeping: Project, tmp_path: Path, victim: str) -> None:
    process = start(sleeping)
    wait_for((tmp_path / "pids").exists, "the pass")
    tried, below = (int(pid) for pid in (tmp_path / "pids").read_text().split())
    job = psutil.Process(tried).ppid()  # the pass runs in a process that the job forked to try it
    worker = psutil.Process(job).ppid()
    family = {process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))}
    assert {worker, job, tried, below} < family
    began = time.monotonic()
    os.kill(process.pid if victim == "make" else worker, signal.SIGKILL)
    left = family - {process.pid} if victim == "make" else {job, tried, below}
    wait_for(lambda: not any(is_alive(pid) for pid in left), "the others' end", 10)
    assert time.monotonic() - began < 10
    _, err = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if victim == "make" else 1)
    if victim == "worker":
        assert "its worker process was ended by SIGKILL" in err
    (tmp_path / "go").touch()
    done = sleeping.make("-j2")
    assert done.code == 0, done.err
    assert json.loads((sleeping.root / "build/mlp/default/manifest.json").read_text())["verdict"] == "passed"
