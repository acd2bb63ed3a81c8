"""Many makes at once over overlapping graphs, one of them killed, and children that hang after their fork."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.running import Running, wait_for
from tests.project import MLP, Project, write_mlp
from tests.torture.ruins import assert_whole, leftovers, outputs
from tests.torture.test_kill import kill_all

PASS = """\
import os, pathlib, time


def run(model):
    with open({log!r}, "a") as log:
        log.write("{name} begins\\n")
    time.sleep(0.3)
    with open({log!r}, "a") as log:
        log.write("{name} ends\\n")
    return model
"""


def test_eight_makes_one_killed_run_each_action_once(project: Project) -> None:
    write_mlp(project)
    log = project.root.parent / "log"
    log.touch()
    names = [f"r{number}" for number in range(6)]
    for name in names:
        project.write(f"recipes/passes/{name}.py", PASS.format(log=str(log), name=name))
        project.recipe(name, MLP + f"passes: [{{custom: {{function: passes/{name}.py:run}}}}]\n")
    makes = [Running(project, f"make{n}", "-j2", *names[n % 4 :], *names[: n % 3]) for n in range(8)]
    try:
        wait_for(lambda: "begins" in log.read_text(), "the first pass", 120)
        victim = next(make for make in makes if any(e["event"] == "start" for e in make.events()))
        kill_all(victim.process)
        dones = [make.done(400) for make in makes if make is not victim]
    finally:
        for make in makes:
            make.process.kill()
            make.process.communicate()
    assert [done.code for done in dones] == [0] * 7, [done.err for done in dones]
    ended = Counter(
        e["action"]
        for done in dones
        for e in done.events
        if e["event"] == "action" and (e["decision"], e["status"]) == ("run", "ok")
    )
    assert set(ended.values()) == {1}, ended
    begun = Counter(line for line in log.read_text().splitlines() if line.endswith("ends"))
    assert set(begun) == {f"{name} ends" for name in names}
    assert sum(begun.values()) <= len(names) + 2  # the victim's own two, at most
    assert_whole(project)
    last = project.make("-j2")
    assert last.code == 0
    assert last.ran == []
    assert leftovers(project) == []
    models = {name: data for name, data in outputs(project).items() if name.endswith("model.onnx")}
    assert len(models) == len(names)


HANG = """\
import os, sys, threading


def run(model):
    if "--job" not in sys.argv:  # forked: what another thread would have released stays locked
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    return model
"""


def test_child_that_hangs_after_its_fork_is_run_apart(mlp: Project) -> None:
    mlp.write("recipes/passes/hang.py", HANG)
    mlp.recipe("mlp", MLP + "passes: [{custom: {function: passes/hang.py:run}}]\n")
    began = time.monotonic()
    done = mlp.make("-j2", env={"ONNXBUILD_FORK_SILENCE": "2"})
    assert time.monotonic() - began < 100
    assert done.code == 0, done.err
    event = done.event("action", action="mlp/optimize")
    assert event["warnings"][0]["code"] == "hung-after-fork"
    assert "run again in a process of its own" in done.out
    mlp.write("recipes/passes/hang.py", HANG.replace("if ", "if False and "))
    spawned = outputs(mlp)
    assert mlp.make("--force").code == 0
    assert outputs(mlp) == spawned


def test_child_that_is_quiet_for_less_is_left_alone(mlp: Project) -> None:
    mlp.write("recipes/passes/nap.py", "import time\n\n\ndef run(model):\n    time.sleep(1)\n    return model\n")
    mlp.recipe("mlp", MLP + "passes: [{custom: {function: passes/nap.py:run}}]\n")
    done = mlp.make("-j2", env={"ONNXBUILD_FORK_SILENCE": "10"})
    assert done.code == 0, done.err
    warnings = done.event("action", action="mlp/optimize")["warnings"]
    assert [warning["code"] for warning in warnings] == ["no-effect"]


STUCK = """\
import sys, time
from pathlib import Path

if "onnxbuild.engine.worker" in sys.orig_argv and "--job" not in sys.orig_argv:
    time.sleep(600)
"""


@pytest.mark.parametrize("code", [STUCK, STUCK.replace("time.sleep(600)", "sys.exit(7)")])
def test_worker_that_does_not_start_is_done_without(mlp: Project, tmp_path: Path, code: str) -> None:
    (tmp_path / "stuck").mkdir()
    (tmp_path / "stuck/sitecustomize.py").write_text(code)
    path = f"{tmp_path / 'stuck'}{os.pathsep}{Path(__file__).parents[2]}"
    done = mlp.make("-j2", env={"ONNXBUILD_FORK_SILENCE": "2", "PYTHONPATH": path})
    assert done.code == 0, done.err
    warned = {w["code"] for e in done.events if e["event"] == "action" for w in e["warnings"]}
    assert warned <= {"hung-after-fork", "worker-lost"}
    assert warned
