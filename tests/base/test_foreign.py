"""Foreign tools: their failures, their temporary files, what they print."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.foreign import failing_node, foreign_tool


def test_an_exception_becomes_a_failure_that_names_the_tool_and_no_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(StageFailure, match=r"^slim fails: ValueError: cannot read model\.onnx$") as caught,
        foreign_tool("slim", tmp_path),
    ):
        raise ValueError(f"cannot read {tmp_path}/model.onnx")
    assert caught.value.code == "tool-failed"
    assert caught.value.tool == "slim"


def test_the_root_cause_is_what_counts(tmp_path: Path) -> None:
    def wrapped() -> None:
        try:
            raise KeyError("w")
        except KeyError as error:
            raise RuntimeError("pass failed") from error

    with pytest.raises(StageFailure, match="KeyError: 'w'"), foreign_tool("slim", tmp_path):
        wrapped()


def test_temporary_files_and_logging_are_as_before_afterwards(tmp_path: Path) -> None:
    before = tempfile.tempdir, logging.root.manager.disable
    with foreign_tool("slim", tmp_path):
        assert Path(tempfile.mkdtemp()).parent == tmp_path
    assert (tempfile.tempdir, logging.root.manager.disable) == before


def test_what_a_tool_prints_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with foreign_tool("slim", tmp_path):
        print("chatter")
    assert capsys.readouterr() == ("", "chatter\n")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("Non-zero status code returned while running Gather node. Name:'emb/Gather' Status Message: x", "emb/Gather"),
        ("Could not find an implementation for MatMul(13) node with name 'fc/MatMul'", "fc/MatMul"),
        ("(op_type:MatMul, node name: fc/MatMul): [ShapeInferenceError]", "fc/MatMul"),
        ("something else", None),
    ],
)
def test_the_node_is_found_in_the_text(text: str, node: str | None) -> None:
    assert failing_node(text) == node
