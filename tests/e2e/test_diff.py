"""`diff` of two files, `inspect` as a page, and `report --open`, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from onnxbuild import cli
from onnxbuild.commands import report
from tests.hostile.corpus import CASES
from tests.ir.graphs import transformer
from tests.project import MLP, Project, write_mlp
from tests.report.page_text import read, visible_text

NAME = "<img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    old, new = transformer(1), transformer(1)
    softmax = next(node for node in new.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Hardmax"
    new.graph.node[0].name = NAME
    onnx.save(old, folder / "old.onnx")
    onnx.save(new, folder / "new.onnx")
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert cli.main([*arguments]) == code
    printed = capsys.readouterr()
    return printed.out if code == 0 else printed.err


def test_the_difference_as_text_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["-C", str(folder), "diff", "old.onnx", "new.onnx"]
    text = told(capsys, *call)
    assert "~ retyped  Softmax → Hardmax    layers.0/attn/Softmax" in text
    assert "\x1b" not in text
    assert "+ added    LayerNormalization" in text
    found = json.loads(told(capsys, *call, "--format", "json"))
    assert found["node_counts"] == {"added": 1, "removed": 1, "retyped": 1}
    assert NAME in [node["name"] for node in found["nodes"]]
    assert told(capsys, "-C", str(folder), "diff", "old.onnx", "old.onnx") == "The models do not differ.\n"


def test_the_difference_as_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = told(capsys, "-C", str(folder), "diff", "old.onnx", "new.onnx", "--format", "html")
    page = read(html)
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert json.loads(page.scripts["facts"])["operators"] == {"Hardmax": [0, 1], "Softmax": [1, 0]}
    text = visible_text(html)
    assert "3 nodes differ (1 added, 1 removed, 1 retyped)" in text
    assert "Content-Security-Policy" in html
    assert "<svg" in html


def test_a_model_as_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = told(capsys, "-C", str(folder), "inspect", "new.onnx", "--format", "html")
    page = read(html)
    assert not [tag for tag, _ in page.elements if tag == "img"]
    text = visible_text(html)
    assert "x | input | float32 | batch × 8 × 32" in text
    assert json.loads(page.scripts["facts"])["nodes"] == 34
    assert "34 nodes." in text
    assert "\x1b" not in told(capsys, "-C", str(folder), "inspect", "new.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["old.onnx"], "diff compares two files, or revisions"),
        (["main.."], "no project here"),
        (["a.lock.json", "b.lock.json"], "a.lock.json cannot be read"),
        (["a.lock.json", "new.onnx"], "a lock and a model cannot be compared"),
        (["old.onnx", "gone.onnx"], "there is no file"),
        (["old.onnx", "bad.onnx"], "not an ONNX model"),
    ],
)
def test_what_cannot_be_compared_is_a_wrong_call(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.onnx").write_bytes(b"\x08\x01nothing")
    error = told(capsys, "-C", str(folder), "diff", *words, code=2)
    assert message in error or "is refused" in error


def test_hostile_files_are_refused_in_a_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "expand_142_bytes"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/model.onnx").write_bytes(CASES[name][0](tmp_path / "bad"))
    onnx.save(transformer(1), tmp_path / "good.onnx")
    assert "not-a-model" in told(capsys, "-C", str(tmp_path), "diff", "good.onnx", "bad/model.onnx", code=2)


def test_report_opens_the_index_where_there_is_a_browser(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(report.sys, "platform", "linux")
    printed = told(capsys, "-C", str(project.root), "report", "--open")
    assert printed.splitlines() == ["reports/index.html", "There is no browser here that could show it."]
    monkeypatch.setenv("DISPLAY", ":0")
    assert told(capsys, "-C", str(project.root), "report", "--open") == "reports/index.html\n"
    assert opened == [(project.root / "reports/index.html").as_uri()]
