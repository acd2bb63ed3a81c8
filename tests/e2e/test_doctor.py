"""doctor: providers loaded for real in processes of their own, and copies of the runtime that overwrite each other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from onnxbuild.commands.probing import probe_all
from onnxbuild.recipe.providers import TABLE
from tests.project import Project

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_every_provider_is_loaded_and_what_is_missing_is_said(project: Project):
    done = project.run("doctor", "--format", "json")
    told = json.loads(done.out)
    assert told["extras"]["openvino"]["get"] == "pip install 'onnxbuild[openvino]'"
    found = told["providers"]
    assert set(found) == set(TABLE)
    assert found["cpu"]["present"] is True
    assert found["cpu"]["devices"][0]["kind"] == "CPU"
    absent = {name: told for name, told in found.items() if not told["present"]}
    assert all(told["why"] and told["needs"] for told in absent.values())
    assert found["coreml"]["present"] is False or "darwin" in os.uname().sysname.lower()
    text = project.run("doctor").out
    assert "cpu              runs a model" in text
    assert all(f"{name} " in text for name in TABLE)


def test_a_library_that_hangs_or_crashes_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hangs.py").write_text("import signal\nsignal.pause()\n")
    (tmp_path / "crashes.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (tmp_path / "raises.py").write_text("raise OSError('no such driver')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    (hung,) = probe_all(["cuda"], 0.5, "hangs")
    assert (hung.present, hung.why) == (False, "it did not answer within 0.5 s")
    (crashed,) = probe_all(["cuda"], 60, "crashes")
    assert crashed.why == "loading it ended in a crash (signal 11)"
    (tmp_path / "leaves.py").write_text("import os\nos._exit(0)\n")
    (left,) = probe_all(["cuda"], 60, "leaves")
    assert (left.present, left.why) == (False, "loading it ended the process without a word")
    (raised,) = probe_all(["cuda"], 60, "raises")
    assert "no such driver" in (raised.why or "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "has no attribute 'get_library_path'"),
        ("def get_library_path(): return '/nowhere/libep.so'", "there is no /nowhere/libep.so"),
        (None, "No module named 'onnxruntime_ep_webgpu'"),
    ],
)
def test_a_plugin_that_was_half_removed_is_told_how_to_mend(tmp_path: Path, code: str | None, said: str):
    """To install it again would do nothing: pip finds it there."""
    info = tmp_path / "onnxruntime_ep_webgpu-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-ep-webgpu\nVersion: 9.9\n")
    if code is not None:
        (tmp_path / "onnxruntime_ep_webgpu").mkdir()
        (tmp_path / "onnxruntime_ep_webgpu/__init__.py").write_text(code)
    from onnxbuild.commands.doctor import _describe

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
        patch.syspath_prepend(str(tmp_path))
        (probe,) = probe_all(["webgpu"])
        line = _describe(probe)
    assert "onnxruntime-ep-webgpu 9.9 is installed, and files of it are missing" in line
    assert said in line
    assert "run: pip install --force-reinstall --no-deps onnxruntime-ep-webgpu" in line
    assert "to get it" not in line


def test_a_runtime_that_runs_nothing_is_a_problem(project: Project, tmp_path: Path):
    (tmp_path / "site/onnxruntime").mkdir(parents=True)
    (tmp_path / "site/onnxruntime/__init__.py").write_text("raise ImportError('libdnnl.so: cannot open')")
    done = project.run("doctor", env={"PYTHONPATH": f"{tmp_path / 'site'}:{REPOSITORY}"})
    assert done.code == 1
    assert "problem: ONNX Runtime runs no model: loading it ended in ImportError: libdnnl.so: cannot open" in done.out
    assert "run: pip install --force-reinstall --no-deps onnxruntime" in done.out


def test_two_copies_of_the_runtime_are_a_problem(project: Project, tmp_path: Path):
    other = tmp_path / "site/onnxruntime_directml-1.24.4.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-directml\nVersion: 1.24.4\n")
    (other / "top_level.txt").write_text("onnxruntime\n")
    (other / "RECORD").write_text("onnxruntime/__init__.py,,\n")
    done = project.run("doctor", env={"PYTHONPATH": f"{REPOSITORY}:{other.parent}"})
    assert done.code == 1
    assert "onnxruntime-directml and onnxruntime" in done.out
    assert "pip uninstall -y" in done.out


def test_a_file_of_another_copy_is_a_problem(project: Project, tmp_path: Path):
    other = tmp_path / "site/onnxruntime-1.31.1.dist-info"
    other.mkdir(parents=True)
    (other.parent / "onnxruntime").mkdir()
    (other.parent / "onnxruntime/__init__.py").write_text("# of another build\n")
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.31.1\n")
    (other / "RECORD").write_text("onnxruntime/__init__.py,sha256=x,7\n")
    from onnxbuild.commands import doctor

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(other.parent))
        assert doctor._altered("onnxruntime") == ["onnxruntime/__init__.py"]
        (other.parent / "onnxruntime/__init__.py").write_text("1234567")
        assert doctor._altered("onnxruntime") == []
