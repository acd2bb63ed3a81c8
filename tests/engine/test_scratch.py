"""A run's folder for temporary files: what is discarded goes in the background, and all is gone in the end."""

from __future__ import annotations

from pathlib import Path

from onnxbuild.engine.scratch import Scratch, sweep


def test_what_was_discarded_is_gone_once_all_is_released(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    for number in range(20):
        folder = scratch.path / f"{number}/out/model"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x")
        scratch.discard(scratch.path / f"{number}")
    scratch.discard(scratch.path / "never there")
    scratch.release()
    assert [*tmp_path.iterdir()] == []


def test_a_living_runs_folder_is_not_swept_while_it_discards(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.path / "job").mkdir()
    scratch.discard(scratch.path / "job")
    sweep(tmp_path, lambda: None)
    assert scratch.path.is_dir()
    scratch.release()
