"""A session that was chosen by measuring, through the real command: its lock, the class of machine, and cores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from onnxbuild.stamp import cores, devices
from tests.e2e.test_benchmark import facts_of
from tests.project import MLP, Done, Project, accept_mlp

BENCHMARK = "benchmark: {batch: [1], min_seconds: 0.01, memory: false}\n"
OPEN = MLP + "session: {auto: latency, graph_optimization: basic}\n" + BENCHMARK
SETTLED = "{auto: latency, graph_optimization: basic, intra_op_threads: 1, memory_pattern: true, cpu_arena: true}"
LOCK = "recipes/mlp.lock.json"
ACCEPTED = {
    "objective": "latency",
    "provider": "cpu",
    "batch": 1,
    "graph_optimization": "basic",
    "intra_op_threads": 7,
    "memory_pattern": False,
    "cpu_arena": False,
}
"""What no search here finds: seven threads are never tried, but on a machine of seven cores."""


@pytest.fixture(scope="module")
def accepted_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("session") / "project")
    accept_mlp(project, OPEN)
    return project.root


@pytest.fixture
def accepted(accepted_template: Path, tmp_path: Path) -> Project:
    """A copy of a built project whose lock names a session of its own choice for this class of machine."""
    shutil.copytree(accepted_template, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    lock(project, **ACCEPTED)
    return project


def lock(project: Project, **session: Any) -> None:
    """Replace the accepted session."""
    content = json.loads((project.root / LOCK).read_text())
    entry = content["targets"]["default"]
    (machine,) = entry["sessions"]
    entry["sessions"] = {machine: session}
    (project.root / LOCK).write_text(json.dumps(content))


def clone(project: Project, where: Path) -> Project:
    """Return the project as version control would have it."""
    shutil.copytree(project.root, where, ignore=shutil.ignore_patterns(".onnxbuild", "build", "reports"))
    return Project(where)


def delivered(project: Project) -> dict[str, Any]:
    manifest = json.loads((project.root / "build/mlp/default/manifest.json").read_text())
    return dict(manifest["session"])


def one_core(folder: Path) -> dict[str, str]:
    """Return an environment in which the command has the quota of one core."""
    for name, text in (("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "100000 100000\n")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {"ONNXBUILD_CGROUP": str(folder)}


def said(done: Done) -> str:
    return done.out + done.err


def test_lock_holds_the_session_by_class_of_machine(accepted_template: Path) -> None:
    content = json.loads((accepted_template / LOCK).read_text())["targets"]["default"]
    ((machine, session),) = content["sessions"].items()
    facts = facts_of(accepted_template, "tune")
    assert machine == facts["machine"]
    assert f"; {cores()} core" in machine
    assert session["objective"] == "latency"
    assert session["graph_optimization"] == "basic"
    assert content["cores"] == cores()
    assert Project(accepted_template).make().ran == [], "what was accepted is what was made"


def test_accepted_session_is_taken_without_a_search_here_and_in_a_clone(accepted: Project, tmp_path: Path) -> None:
    settings = {name: ACCEPTED[name] for name in ("intra_op_threads", "memory_pattern", "cpu_arena")}
    for project in (accepted, clone(accepted, tmp_path / "clone")):
        made = project.make("--locked")
        assert made.code == 0, said(made)
        assert "mlp/tune@cpu" in made.ran
        assert delivered(project) == {"graph_optimization": "basic", **settings}
        page = (project.root / "reports/mlp.html").read_text()
        assert "from the lock" in page
        assert project.make().ran == []
    facts = facts_of(tmp_path / "clone", "tune")
    assert (facts["from_lock"], facts["tried"]) == (True, [])


def test_session_of_a_lock_that_is_gone_is_measured(accepted: Project) -> None:
    assert "mlp/tune@cpu" in accepted.make().ran
    assert delivered(accepted)["intra_op_threads"] == 7
    (accepted.root / LOCK).unlink()
    assert "mlp/tune@cpu" in accepted.make().ran
    assert delivered(accepted).get("intra_op_threads") != 7
    assert accepted.make().ran == []


def test_remeasured_session_stands_and_differs_from_the_lock(accepted: Project) -> None:
    assert accepted.make().code == 0
    assert delivered(accepted)["intra_op_threads"] == 7
    assert "mlp/tune@cpu" in accepted.make("--remeasure").ran
    assert delivered(accepted).get("intra_op_threads") != 7
    assert accepted.make().ran == [], "the lock does not take it back"
    differing = accepted.make("--locked")
    assert differing.code == 1
    assert "the chosen session is" in said(differing)
    assert accepted.run("accept", "mlp").code == 0
    assert accepted.make("--locked").code == 0


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"objective": "throughput"}, "chosen for something else"), ({"graph_optimization": "all"}, "settled otherwise")],
)
def test_session_that_answers_another_question_is_not_taken(
    accepted: Project, changed: dict[str, str], why: str
) -> None:
    lock(accepted, **{**ACCEPTED, **changed})
    assert accepted.make().code == 0
    assert delivered(accepted).get("intra_op_threads") != 7, why
    assert accepted.make().ran == []


@pytest.mark.skipif(cores() == 1, reason="this process may use one core only")
def test_another_class_of_machine_measures_and_is_accepted_beside_the_first(accepted: Project, tmp_path: Path) -> None:
    other = clone(accepted, tmp_path / "clone")
    environment = one_core(tmp_path / "cgroup")
    made = other.make("--locked", env=environment)
    assert made.code == 0, said(made)
    assert "no session was accepted for" in said(made)
    facts = facts_of(other.root, "tune")
    assert facts["from_lock"] is False
    page = (other.root / "reports/mlp.html").read_text()
    cpu = facts["machine"].partition("; ")[0]
    assert f"session on {cpu}; 1 core; " in page
    assert f"session on {cpu}; {cores()} cores; " not in page, "that class lost nothing"
    assert other.run("accept", "mlp", env=environment).code == 0
    sessions = json.loads((other.root / LOCK).read_text())["targets"]["default"]["sessions"]
    assert sorted("; 1 core; " in machine for machine in sessions) == [False, True]
    assert ACCEPTED in sessions.values()


@pytest.mark.skipif(bool(devices()), reason="this machine has a GPU, so cuda may be there")
def test_nothing_is_accepted_where_nothing_was_chosen_and_other_machines_keep_theirs(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + "session: {auto: latency}\nproviders: {cuda: {}, cpu: {}}\n")
    made = mlp.make()
    assert made.code == 0, said(made)
    assert "Not tuned" in (mlp.root / "reports/mlp.html").read_text()
    assert mlp.run("accept", "mlp").code == 0
    content = json.loads((mlp.root / LOCK).read_text())
    assert "sessions" not in content["targets"]["default"]
    elsewhere = {"Some CPU; 8 cores; avx; nvidia0": {"objective": "latency", "provider": "cuda", "batch": 1}}
    other = {"Some CPU; 4 cores; avx; nvidia0": {"objective": "memory", "provider": "cuda", "batch": 1}}
    content["targets"]["default"]["sessions"] = {**elsewhere, **other}
    (mlp.root / LOCK).write_text(json.dumps(content))
    assert mlp.make("--locked").code == 0, "cuda is not here to choose a session for"
    assert mlp.run("accept", "mlp").code == 0
    assert json.loads((mlp.root / LOCK).read_text())["targets"]["default"]["sessions"] == elsewhere


@pytest.mark.skipif(cores() == 1, reason="this process may use one core only")
def test_core_count_reruns_what_measures_time_and_nothing_else(mlp: Project, tmp_path: Path) -> None:
    mlp.recipe("mlp", MLP + f"session: {SETTLED}\n" + BENCHMARK)
    assert mlp.make().code == 0
    environment = one_core(tmp_path / "cgroup")
    made = mlp.make(env=environment)
    assert made.ran == ["mlp/benchmark@cpu", "mlp/tune@cpu"]
    reasons = made.event("action", action="mlp/tune@cpu")["reasons"]
    assert reasons == [f"1 core may be used, not {cores()}"]
    assert mlp.make(env=environment).ran == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_jobs_count_the_threads_of_a_session_that_was_chosen(accepted: Project, jobs: int) -> None:
    lock(accepted, **{**ACCEPTED, "intra_op_threads": 2})
    made = accepted.make("-j", str(jobs), "--force")
    assert made.code == 0, said(made)
    assert delivered(accepted)["intra_op_threads"] == 2
    wide = {"mlp/validate@cpu", "mlp/place@cpu"}
    running: set[str] = set()
    for event in made.events:
        if event["event"] == "start":
            running.add(event["action"])
            busy = sum(2 if action in wide else 1 for action in running)
            assert busy <= max(jobs, 2 if running & wide else 1), running
            assert len(running) == 1 or busy <= jobs, running
        elif event["event"] == "action":
            running.discard(event["action"])
