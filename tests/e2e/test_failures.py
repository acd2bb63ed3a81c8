"""Stages that raise, crash, leave, hang or eat memory: one action fails, the rest is built, nothing is kept of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project import MLP, Done, Project, write_mlp

SECONDS = 6
LIMITS = f"limits: {{memory: 900 MB, time: {SECONDS} s}}\n"
HARMLESS = "def run(outputs, labels, inputs):\n    return 1.0\n"
BUSY = "    end = time.monotonic() + 60\n    while time.monotonic() < end:\n        pass\n"
BAD = {
    "raises": "from depths import fall\n\n\ndef run(outputs, labels, inputs):\n    return fall(outputs)\n",
    "exits": "import sys\n\n\ndef run(outputs, labels, inputs):\n    sys.exit('enough')\n",
    "segfault": "import ctypes\n\n\ndef run(outputs, labels, inputs):\n    ctypes.string_at(0)\n",
    "dies": "import ctypes\nimport numpy as np\n\n\ndef run(outputs, labels, inputs):\n"
    "    return np.frombuffer((ctypes.c_double * 8).from_address(8)).sum()\n",
    "leaves": "import os\n\n\ndef run(outputs, labels, inputs):\n    os._exit(3)\n",
    "hangs": f"import time\n\n\ndef run(outputs, labels, inputs):\n{BUSY}    return 1.0\n",
    "gobbles": "def run(outputs, labels, inputs):\n    return bytearray(3_000_000_000)\n",
    # Shared pages are outside the limit that the kernel enforces; the engine watches what is resident.
    "swells": "import mmap, time\n\n\ndef run(outputs, labels, inputs):\n    pages = mmap.mmap(-1, 1_200_000_000)\n"
    f"    for at in range(0, len(pages), 1_000_000):\n        pages[at : at + 1_000_000] = bytes(1_000_000)\n"
    f"{BUSY}    return 1.0\n",
}
DEPTHS = "def fall(outputs):\n    raise ValueError('the bottom of ' + min(outputs))\n"
REASONS = {
    "raises": ("user-code", "ValueError: the bottom of"),
    "exits": ("user-code", "SystemExit: enough"),
    "segfault": ("crashed", "the stage was ended by SIGSEGV"),
    "dies": ("crashed", "the stage was ended by SIGSEGV in numpy"),
    "leaves": ("crashed", "exit status 3"),
    "hangs": ("time-limit", f"exceeded its time limit of {SECONDS}"),
    "gobbles": ("user-code", "MemoryError"),
    "swells": ("memory-limit", "exceeded its memory limit of 900 MB"),
}
EACH = pytest.mark.parametrize("name", BAD)


@dataclass(frozen=True)
class Broken:
    """A project with one sound recipe and a broken one for each way to fail; made, and made again when mended."""

    project: Project
    first: Done
    built: frozenset[str]
    mended: Done


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Broken:
    project = Project(tmp_path_factory.mktemp("broken") / "project")
    write_mlp(project)
    project.write("onnxbuild.yaml", LIMITS)
    project.write("recipes/metrics/depths.py", DEPTHS)
    project.recipe("sound", MLP)
    for name, code in BAD.items():
        project.write(f"recipes/metrics/{name}.py", code)
        metric = f"metric: {{custom: metrics/{name}.py:run, higher_is_better: true}}"
        project.recipe(name, MLP.replace("metric: accuracy", metric))
    first = project.make("-k", "-j2")
    built = frozenset(path.name for path in (project.root / "build").iterdir())
    for name in BAD:
        project.write(f"recipes/metrics/{name}.py", HARMLESS)
    return Broken(project, first, built, project.make("-k", "-j2"))


def test_the_rest_is_built_and_the_exit_code_is_1(broken: Broken) -> None:
    assert broken.first.code == 1
    verdicts = {e["target"]: e["verdict"] for e in broken.first.events if e["event"] == "verdict"}
    assert verdicts == {"sound:default": "passed"} | {f"{name}:default": "failed" for name in BAD}


def test_no_failed_step_leaves_an_output(broken: Broken) -> None:
    assert broken.built == {"sound"}
    for name in BAD:
        verdict = broken.first.event("verdict", target=f"{name}:default")
        assert verdict["output"] is None
        code, reason = REASONS[name]
        assert verdict["reason"].startswith(f"{name}/validate@cpu failed: ")
        assert reason in verdict["reason"]
        assert verdict["reason"].endswith(f"[{code}]")
        assert f"failed    {name}:default; {verdict['reason']}\n" in broken.first.out
    own = broken.project.root / ".onnxbuild"
    assert not list((own / "scratch").iterdir())
    assert not list((own / "tmp").iterdir())


@EACH
def test_failure_names_reason_stage_target_and_log(broken: Broken, name: str) -> None:
    event = broken.first.event("action", action=f"{name}/validate@cpu")
    code, reason = REASONS[name]
    assert (event["decision"], event["status"]) == ("run", "failed")
    assert (event["stage"], event["targets"]) == ("validate", [f"{name}:default"])
    assert event["failure"]["code"] == code
    assert reason in event["failure"]["message"]
    assert (broken.project.root / event["failure"]["log"]).is_file()
    told = broken.first.err[broken.first.err.index(f"{name}/validate@cpu") :]
    assert reason in told
    assert f"log {event['failure']['log']}" in told
    line = 1 + MLP.splitlines().index("evaluation: {data: data/test.npz, metric: accuracy}")
    assert event["failure"]["place"] == f"recipes/{name}.yaml:{line}:1"
    assert f"asked for at {event['failure']['place']}\n" in told


def test_a_crash_names_the_library_that_it_happened_in(broken: Broken) -> None:
    found = {name: broken.first.event("action", action=f"{name}/validate@cpu")["failure"] for name in BAD}
    assert {name: failure["tool"] for name, failure in found.items() if failure["code"] == "crashed"} == {
        "segfault": None, "dies": "numpy", "leaves": None,
    }  # fmt: skip


@EACH
def test_what_needs_the_failed_step_is_skipped(broken: Broken, name: str) -> None:
    package = broken.first.event("action", action=f"{name}/package")
    assert (package["decision"], package["status"]) == ("blocked", "cancelled")
    assert f"{name}/package" not in broken.first.out, "the target's line says what failed"
    skipped = [e for e in broken.first.events if e.get("decision") == "blocked"]
    assert f" up to date, {len(skipped)} skipped, in " in broken.first.out


@EACH
def test_failure_is_not_kept(broken: Broken, name: str) -> None:
    """Mended code builds, and what was built before stands."""
    assert broken.mended.code == 0, broken.mended.err
    assert broken.mended.event("verdict", target=f"{name}:default")["verdict"] == "passed"
    assert not {e["stage"] for e in broken.mended.events if e.get("decision") == "run"} & {"data", "reference"}


def test_limits_that_were_exceeded_are_named_with_the_way_to_raise_them(broken: Broken) -> None:
    for name, key in (("hangs", "time"), ("swells", "memory")):
        failure = broken.first.event("action", action=f"{name}/validate@cpu")["failure"]
        assert f"limits: {{{key}:" in failure["hint"]
        assert "onnxbuild.yaml" in failure["hint"]


def test_traceback_is_the_user_s_from_the_first_frame(broken: Broken) -> None:
    failure = broken.first.event("action", action="raises/validate@cpu")["failure"]
    lines = failure["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "metrics/raises.py" in lines[1]
    assert [line.split('"')[1].rpartition("/")[2] for line in lines if line.startswith("  File")] == [
        "raises.py",
        "depths.py",
    ]
    assert lines[-1] == "ValueError: the bottom of y"
    assert "return fall(outputs)" in broken.first.err
    assert "/onnxbuild/" not in broken.first.err
    assert "onnxbuild.engine" not in broken.first.err


@pytest.mark.parametrize(
    ("stage", "recipe"),
    [
        ("data", MLP.replace("data: data/test.npz", "data: {loader: user.py:call}")),
        ("validate", MLP.replace("metric: accuracy", "metric: {custom: user.py:call, higher_is_better: true}")),
    ],
)
def test_loader_and_metric_show_the_user_s_traceback(project: Project, stage: str, recipe: str) -> None:
    write_mlp(project)
    project.write("recipes/user.py", "def call(*given, **named):\n    return {}['nothing']\n")
    project.recipe("mlp", recipe)
    done = project.make("-j1")
    assert done.code == 1
    failed = [e for e in done.events if e["event"] == "action" and e["status"] == "failed"]
    assert [e["stage"] for e in failed] == [stage]
    assert "recipes/user.py" in failed[0]["failure"]["traceback"].splitlines()[1]
    assert "KeyError: 'nothing'" in done.err
    assert "/onnxbuild/" not in done.err


def test_between_the_user_s_frames_and_those_of_a_library_that_is_watched_lie_none_of_ours(project: Project) -> None:
    write_mlp(project)
    user = "import onnxruntime\n\n\ndef call(*given, **named):\n    onnxruntime.InferenceSession('gone.onnx')\n"
    project.write("recipes/user.py", user)
    project.recipe("mlp", MLP.replace("metric: accuracy", "metric: {custom: user.py:call, higher_is_better: true}"))
    failure = project.make("-j1").event("action", action="mlp/validate@cpu")["failure"]
    frames = [line.split('"')[1] for line in failure["traceback"].splitlines() if line.startswith("  File")]
    assert frames[0].endswith("recipes/user.py")
    assert "/onnxruntime/" in frames[1]
    assert not [frame for frame in frames if "onnxbuild/engine/" in frame]


@pytest.mark.torch
def test_factory_that_raises_shows_the_user_s_traceback(project: Project) -> None:
    pytest.importorskip("torch")
    project.write("recipes/net.py", "import torch\n\n\ndef build(width):\n    return torch.nn.Linear(8, width + '!')\n")
    project.recipe(
        "net",
        "format: 1\nsource: {framework: torch, factory: net.py:build, args: {width: 4}}\n"
        "inputs: {x: {dtype: float32, shape: [batch, 8]}}\noutputs: [y]\ndynamic_axes: {batch: {max: 8}}\n",
    )
    done = project.make("-j1", "net")
    assert done.code == 1
    failure = next(e["failure"] for e in done.events if e["event"] == "action" and e["status"] == "failed")
    assert "recipes/net.py" in failure["traceback"].splitlines()[1]
    assert "TypeError: unsupported operand" in done.err
    assert "/onnxbuild/" not in done.err
    assert not (project.root / "build").exists()


def test_pass_that_returns_no_model_fails_its_stage(mlp: Project) -> None:
    mlp.write("recipes/passes/wrong.py", "def run(model):\n    return 7\n")
    mlp.recipe("mlp", MLP + "passes: [{custom: {function: passes/wrong.py:run}}]\n")
    done = mlp.make()
    failure = done.event("action", action="mlp/optimize")["failure"]
    assert done.code == 1
    assert "int" in failure["message"]
    assert failure["code"] != "internal"
    assert failure["log"] == ".onnxbuild/logs/mlp_optimize.log"


def test_time_limit_is_the_action_s_own(mlp: Project, tmp_path: Path) -> None:
    """A worker that takes long to start, as one with a large framework does, costs no action its time."""
    slow = "import sys, time\nif 'onnxbuild.engine.worker' in sys.orig_argv:\n    time.sleep(5)\n"
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/sitecustomize.py").write_text(slow)
    mlp.write("onnxbuild.yaml", "limits: {time: 4 s}\n")
    path = f"{tmp_path / 'slow'}{os.pathsep}{Path(__file__).parents[2]}"
    done = mlp.make("-j1", env={"PYTHONPATH": path})
    assert done.code == 0, done.err
    assert done.event("end")["seconds"] > 5
