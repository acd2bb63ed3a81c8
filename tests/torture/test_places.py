"""Disks that are full, read-only or others, and odd homes, masks, names and clocks: a clear word or correct work."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxbuild.base.seal import seal
from onnxbuild.store.traces import FORMAT, KIND
from tests.project import ENVIRONMENT, MLP, Project, write_mlp
from tests.torture.ruins import assert_mends, assert_whole, leftovers, outputs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an ordinary build in an ordinary place delivers."""
    project = make_project(tmp_path_factory.mktemp("clean") / "project")
    assert project.make("-j2").code == 0
    return outputs(project)


def make_project(root: Path) -> Project:
    project = Project(root)
    write_mlp(project)
    project.recipe("mlp", MLP)
    return project


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a memory file system, or skip where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip(f"mounting is not allowed here: {mount.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("where", "size"), [("build", "4k"), (".onnxbuild", "4k"), (".onnxbuild", "24k")])
def test_full_disk_is_told_and_mends(tmp_path: Path, clean: dict[str, bytes], where: str, size: str) -> None:
    project = make_project(tmp_path / "project")
    with mounted(project.root / where, f"size={size}"):
        done = project.make("-j2")
        assert done.code == 1, done.err
        assert "the disk is full" in done.err
        assert "bug" not in done.err
        assert_whole(project)
        subprocess.run(["mount", "-o", "remount,size=64m", str(project.root / where)], check=True)
        assert_mends(project, clean)


def test_files_beyond_what_is_allowed_are_told(tmp_path: Path, clean: dict[str, bytes]) -> None:
    project = make_project(tmp_path / "project")
    process = subprocess.run(
        [sys.executable, "-m", "onnxbuild", "make", "-j2"],
        cwd=project.root,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500)),
    )
    assert process.returncode == 1, process.stderr
    assert "the file grows beyond what is allowed" in process.stderr
    assert_mends(project, clean)


def test_read_only_store_restores_but_makes_nothing(tmp_path: Path, clean: dict[str, bytes]) -> None:
    project = make_project(tmp_path / "project")
    store = tmp_path / "store"
    project.write("onnxbuild.yaml", f"store: {store}\n")
    with mounted(store, "size=64m"):
        assert project.make("-j2").code == 0
        subprocess.run(["mount", "-o", "remount,ro", str(store)], check=True)
        shutil.rmtree(project.root / "build")
        restored = project.make()
        assert restored.code == 0, restored.err
        assert restored.ran == []
        assert outputs(project) == clean
        write_mlp(project, seed=1)
        refused = project.make()
        assert refused.code == 1
        assert "the file system is read-only" in refused.err
        assert str(store) in refused.err
        assert "bug" not in refused.err
        assert outputs(project) == clean
        assert leftovers(project) == []


def test_store_on_another_file_system(tmp_path: Path, clean: dict[str, bytes]) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    store = memory / f"onnxbuild-{os.getpid()}"
    project = make_project(tmp_path / "project")
    project.write("onnxbuild.yaml", f"store: {store}\n")
    try:
        done = project.make("-j2")
        assert done.code == 0, done.err
        assert outputs(project) == clean
        shutil.rmtree(project.root / "build")
        assert project.make().ran == []
        assert outputs(project) == clean
    finally:
        shutil.rmtree(store, ignore_errors=True)


def test_odd_places(tmp_path: Path, clean: dict[str, bytes]) -> None:
    """No home, a mask that hides all from others, a name with spaces, quotes and letters of three scripts."""
    project = make_project(tmp_path / "ein Ordner's “Größe” модель 模型 $(x)" / "project")
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "HOME"}
    process = subprocess.run(
        [sys.executable, "-m", "onnxbuild", "make", "-j2"],
        cwd=project.root,
        env={**environment, "PYTHONPATH": str(ROOT), "LC_ALL": "C"},
        capture_output=True,
        timeout=120,
        umask=0o077,
    )
    assert process.returncode == 0, process.stderr
    assert outputs(project) == clean
    for path in [*project.root.joinpath("build").rglob("*"), *project.root.joinpath("reports").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert project.make().out.startswith("Nothing to do")


def test_clock_set_back(tmp_path: Path, clean: dict[str, bytes]) -> None:
    """Files from the future are built from, and their change is seen, also when it bears an older time."""
    project = make_project(tmp_path / "project")
    later = time.time() + 7 * 86400
    sources = [path for path in project.root.rglob("*") if path.is_file()]
    for path in sources:
        os.utime(path, (later, later))
    assert project.make("-j2").code == 0
    assert outputs(project) == clean
    for path in project.root.joinpath(".onnxbuild").rglob("*"):
        os.utime(path, (later, later))
    assert project.make().ran == []
    write_mlp(project, seed=1)
    done = project.make()
    assert "mlp/canonicalize" in done.ran
    assert outputs(project) != clean
    write_mlp(project, seed=0)
    for path in sources:
        os.utime(path, (later, later))
    back = project.make()
    assert back.code == 0
    assert back.ran == []
    assert outputs(project) == clean


# Other versions of onnxbuild


def test_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    mark = project.root / ".onnxbuild/traces/format"
    mark.parent.mkdir(parents=True)
    mark.write_bytes(seal(b"", KIND, FORMAT + 1))
    done = project.make()
    assert done.code == 2
    assert "written by a newer onnxbuild" in done.err
    assert f"format {FORMAT + 1}" in done.err
    assert [path.name for path in mark.parent.iterdir()] == ["format"]
    assert not (project.root / "build").exists()


def test_store_of_an_older_version_is_used_without_its_records(tmp_path: Path, clean: dict[str, bytes]) -> None:
    project = make_project(tmp_path / "project")
    first = project.make("-j2")
    assert first.code == 0
    own = project.root / ".onnxbuild"
    (own / "traces/format").unlink()
    for file in own.glob("traces/*/*/*.json"):
        _, _, content = file.read_bytes().partition(b"\n")  # format 1: bare, and with a field that is gone
        file.write_bytes(content[:-1] + b',"format":1}')
    shutil.rmtree(own / "state")
    shutil.rmtree(project.root / "build")
    done = project.make("-j2")
    assert done.code == 0, done.err
    assert done.event("notice")["code"] == "older-store"
    assert sorted(done.ran) == sorted(first.ran)
    assert outputs(project) == clean
    again = project.make()
    assert again.code == 0
    assert again.out.startswith("Nothing to do")
