"""A make with nothing to do is answered from the stamp, and only when nothing differs."""

from __future__ import annotations

import json
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onnxbuild.stamp import Signature, decode, parse, processor, signature
from onnxbuild.targets.evidence import Doubt, Evidence
from tests.project import ENVIRONMENT, MLP, Project, write_mlp

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-X", "importtime", str(ROOT / "onnxbuild/bin/onnxbuild")]
FAILING = "quantization: {mode: dynamic}\ntolerance: {outputs: {y: {max_abs: 1.0e-7}}}\n"


def imported(project: Project, *arguments: str, env: dict[str, str] | None = None) -> tuple[set[str], int, str]:
    """Run the installed command; return the modules it imported, its exit code and what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=project.root,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, done.returncode, done.stdout


def is_answered(project: Project, *arguments: str, env: dict[str, str] | None = None) -> bool:
    """Make, and tell whether the stamp answered."""
    modules, code, out = imported(project, "make", *arguments, env=env)
    assert code == 0, out
    return "onnxbuild.cli" not in modules


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was made, to be copied."""
    project = Project(tmp_path_factory.mktemp("template"))
    write_mlp(project)
    project.recipe("mlp", MLP)
    assert project.make().code == 0
    return project


@pytest.fixture
def made(template: Project, tmp_path: Path) -> Project:
    """A project that was made, whose stamp answers."""
    shutil.copytree(template.root, tmp_path / "project")
    project = Project(tmp_path / "project")
    assert not is_answered(project), "a copy has files of its own"
    return project


def test_it_imports_nothing_but_the_stamp(made: Project) -> None:
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "pass"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    usual = {line.rpartition("|")[2].strip() for line in bare.stderr.splitlines()}
    modules, _, out = imported(made, "make")
    assert modules - usual == {"onnxbuild", "onnxbuild.stamp", "onnxbuild.__main__"}
    assert out.startswith("Nothing to do: 1 target up to date (")


def test_it_tells_the_same_events_and_lines_as_the_engine(made: Project) -> None:
    def told(*arguments: str) -> list[dict[str, object]]:
        events = made.run("make", *arguments).events
        return [{k: v for k, v in event.items() if k != "seconds"} for event in events]

    quick = told()
    for stamp in (made.root / ".onnxbuild/state/stamps").iterdir():
        stamp.unlink()
    assert told() == quick
    assert [event["event"] for event in quick] == ["plan", "end"]


def test_events_on_standard_output_leave_it_to_them(made: Project) -> None:
    modules, _, out = imported(made, "make", "--events", "-", "-q")
    assert "onnxbuild.cli" not in modules
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["plan", "end"]


def test_a_failed_gate_fails_again_at_once_for_the_same_reason(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + FAILING)
    first = mlp.make()
    assert first.code == 1
    modules, code, out = imported(mlp, "make")
    assert code == 1
    assert "onnxbuild.cli" not in modules
    assert "tolerance.y.max_abs" in out
    again = mlp.make()
    gate = first.event("gate", gate="tolerance.y.max_abs")
    assert again.event("gate") == gate
    assert again.code == 1


def test_same_size_edit_with_restored_time_is_seen(made: Project) -> None:
    model = made.root / "recipes/models/mlp.onnx"
    before = model.stat()
    data = bytearray(model.read_bytes())
    at = data.index(b"nothing")
    data[at : at + 7] = b"Nothing"
    model.write_bytes(data)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model.stat().st_size == before.st_size
    assert made.make().ran[0] == "mlp/canonicalize"


@pytest.mark.parametrize(
    "name",
    ["recipes/mlp.yaml", "recipes/models/mlp.onnx", "recipes/data/test.npz", "build/mlp/default/model.onnx"],
)
def test_touch_is_looked_at_once_and_re_runs_nothing(made: Project, name: str) -> None:
    (made.root / name).touch()
    assert not is_answered(made)
    assert is_answered(made)
    assert made.make().ran == []


@pytest.mark.parametrize(
    "name", ["build/mlp/default/model.onnx", "build/mlp/default/manifest.json", "reports/mlp.html"]
)
def test_what_is_missing_of_the_output_comes_back(made: Project, name: str) -> None:
    wanted = (made.root / name).read_bytes()
    (made.root / name).unlink()
    assert not is_answered(made)
    there = (made.root / name).read_bytes()
    assert there == wanted or (name.startswith("reports/") and b"</html>" in there)  # a page tells what was done


def test_foreign_file_in_an_output_is_removed(made: Project) -> None:
    stray = made.write("build/mlp/default/stray.txt", "x")
    assert made.make().actions("restore") == ["mlp/package"]
    assert not stray.exists()


def test_new_recipe_and_new_settings_are_seen(made: Project) -> None:
    made.recipe("other", MLP)
    assert "other:default" in made.make().event("plan")["targets"]
    assert is_answered(made)
    made.write("onnxbuild.yaml", "output: out\n")
    assert made.make().code == 0
    assert (made.root / "out/mlp/default/model.onnx").exists()


def test_lost_store_is_seen(made: Project) -> None:
    (made.root / ".onnxbuild/blobs").rename(made.root / ".onnxbuild/gone")
    assert made.make().ran == ["mlp/canonicalize", "mlp/data", "mlp/reference"]


def test_another_python_path_is_another_place(made: Project) -> None:
    elsewhere = made.root / "libraries"
    elsewhere.mkdir()
    assert not is_answered(made, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{elsewhere}"})


def test_another_cpu_is_another_place(made: Project, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.write_text(Path("/proc/cpuinfo").read_text().partition("\n\n")[0].replace("cpu MHz", "cpu MHz today"))
    other.write_text("processor: 0\nmodel name: Other\nflags: avx\n")
    assert is_answered(made, env={"ONNXBUILD_CPUINFO": str(own)})
    assert not is_answered(made, env={"ONNXBUILD_CPUINFO": str(other)})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model name : A  B\nflags : fpu sse2 avx md_clear\n\nmodel name : C\nflags : fma\n", ("A  B", "avx sse2")),
        ("processor : 0\nFeatures : fphp asimd crc32\nCPU implementer : 0x41\nCPU part : 0xd0c\n",
         ("CPU implementer 0x41 CPU part 0xd0c", "asimd fphp")),
        ("", ("", "")),
        (None, ("", "")),
    ],
)  # fmt: skip
def test_what_the_kernel_tells_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, found: tuple[str, str]
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setenv("ONNXBUILD_CPUINFO", str(tmp_path / "cpuinfo"))
    assert processor() == found


def test_damaged_stamp_is_no_stamp(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (stamp,) = (f for f in (made.root / ".onnxbuild/state/stamps").iterdir() if f.name != ".clock")
    good = stamp.read_bytes()
    monkeypatch.setattr("onnxbuild.stamp.machine", lambda: marshal.loads(good[8:])[0])
    assert decode(good) is not None
    for at in range(0, len(good), 997):
        damaged = bytearray(good)
        damaged[at] ^= 1
        assert decode(bytes(damaged)) is None
    for data in (b"", good[:7], good[:-1]):
        assert decode(data) is None
    stamp.write_bytes(good[:-1])
    assert not is_answered(made)
    assert is_answered(made)


def test_a_selection_has_a_stamp_of_its_own(made: Project) -> None:
    assert not is_answered(made, "mlp")
    assert is_answered(made, "mlp")
    assert is_answered(made, "-j2", "-k", "-q", "mlp")
    assert not is_answered(made, "--strict", "mlp")
    assert not is_answered(made, "mlp", "--force")


@pytest.mark.parametrize(
    "call",
    [
        [], ["check"], ["make", "--help"], ["make", "-n"], ["make", "--force"], ["make", "a", "-k", "b"],
        ["-k", "make"], ["make", "-j0"], ["make", "-j"], ["make", "-jx"], ["make", "--events"], ["make", "-C"],
        ["make", "--"],
    ],
)  # fmt: skip
def test_calls_that_no_stamp_answers(call: list[str]) -> None:
    assert parse(call) is None


def test_calls_that_a_stamp_may_answer() -> None:
    call = parse(["-q", "-C", "x", "make", "-k", "-j", "2", "a:*", "b", "--events", "-"])
    assert call is not None
    assert (call.quiet, call.directory, call.targets, call.events) == (True, "x", ["a:*", "b"], "-")


def test_what_changed_during_the_make_is_no_evidence(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("a")
    changed = _of(file)[1]
    with pytest.raises(Doubt):
        Evidence(tmp_path, changed).add_file("x")
    with pytest.raises(Doubt):
        Evidence(tmp_path, 1).add_tree(".")
    evidence = Evidence(tmp_path, changed + 1)
    evidence.add_file("x")
    evidence.add_file("y")
    assert evidence.files == {"x": _of(file), "y": None}


def _of(file: Path) -> Signature:
    found = signature(str(file))
    assert found is not None
    return found
