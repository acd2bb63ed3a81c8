"""A make that is stopped, or that is not alone: no process stays, nothing that finished is lost, nothing runs twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.running import Running, wait_for
from tests.project import MLP, Project, write_mlp

LOADER = """\
import os, pathlib, subprocess, sys, time
import numpy as np

ROOM = pathlib.Path({room!r})


def load():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    (ROOM / "pids.new").write_text(f"{{os.getpid()}} {{child.pid}}")
    (ROOM / "pids.new").rename(ROOM / "pids")
    end = time.monotonic() + 120
    while (ROOM / "hold").exists() and time.monotonic() < end:
        time.sleep(0.01)
    child.kill()
    child.wait()
    rng = np.random.default_rng(0)
    return {{"x": rng.normal(size=(20, 8)).astype(np.float32), "labels": rng.integers(0, 4, 20)}}
"""


@pytest.fixture
def held(project: Project) -> Project:
    """A project whose loader waits until the file `hold` beside the project goes away."""
    write_mlp(project)
    room = project.root.parent
    (room / "hold").touch()
    project.write("recipes/data/load.py", LOADER.format(room=str(room)))
    project.recipe("mlp", MLP.replace("data: data/test.npz", "data: {loader: data/load.py:load}"))
    return project


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_make_leaves_no_process_and_keeps_what_finished(held: Project, sent: int, code: int) -> None:
    room: Path = held.root.parent
    make = Running(held, "first", "-j2")
    try:
        wait_for(lambda: (room / "pids").exists() and make.finished("mlp/canonicalize"), "the loader")
        pids = {int(pid) for pid in (room / "pids").read_text().split()}
        pids |= {child.pid for child in make.children()}
        assert len(pids) >= 3  # a worker, its child with the loader, and the loader's own
        assert all(is_alive(pid) for pid in pids)
        make.process.send_signal(sent)
        stopped = make.done()
    finally:
        make.process.kill()
        (room / "hold").unlink()
    assert stopped.code == code
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "the children's end", 20)
    assert "Traceback" not in stopped.err
    assert not (held.root / "build").exists()
    if sent == signal.SIGINT:
        assert "interrupted" in stopped.err
        assert not list((held.root / ".onnxbuild/scratch").iterdir())
    again = held.make()
    assert again.code == 0, again.err
    assert again.ran == ["mlp/data", "mlp/package", "mlp/place@cpu", "mlp/reference", "mlp/validate@cpu"]
    assert (held.root / "build/mlp/default/model.onnx").exists()


def test_two_makes_at_once_run_each_action_once(held: Project) -> None:
    room: Path = held.root.parent
    makes = [Running(held, "one", "-j2")]
    try:
        wait_for((room / "pids").exists, "the loader")
        makes.append(Running(held, "two", "-j2"))
        wait_for(lambda: any(e["event"] == "notice" for e in makes[1].events()), "the second make to wait")
    finally:
        (room / "hold").unlink()
    one, two = (make.done() for make in makes)
    assert (one.code, two.code) == (0, 0), one.err + two.err
    assert sorted(one.ran + two.ran) == [
        "mlp/canonicalize",
        "mlp/data",
        "mlp/package",
        "mlp/place@cpu",
        "mlp/reference",
        "mlp/validate@cpu",
    ]
    waited = [e["message"] for e in two.events if e["event"] == "notice" and e["code"] == "waiting"]
    assert waited[0] == f"mlp/data waits for process {makes[0].process.pid}, mlp/data, which builds the same"
    assert [one.event("verdict")["verdict"], two.event("verdict")["verdict"]] == ["passed", "passed"]


def test_two_makes_at_once_restore_the_same_outputs(mlp: Project) -> None:
    assert mlp.make().code == 0
    wanted = (mlp.root / "build/mlp/default/model.onnx").read_bytes()
    for name in "abcdef":
        mlp.recipe(name, MLP)
    assert mlp.make().code == 0
    assert mlp.run("clean").code == 0
    one, two = (make.done() for make in [Running(mlp, "one"), Running(mlp, "two")])
    assert (one.code, two.code) == (0, 0), one.err + two.err
    assert one.ran == two.ran == []
    for name in ["mlp", *"abcdef"]:
        folder = mlp.root / "build" / name / "default"
        assert (folder / "model.onnx").read_bytes() == wanted
        assert json.loads((folder / "manifest.json").read_text())["recipe"] == name
        assert [path.name for path in folder.parent.iterdir()] == ["default"]
