"""Reports on disk: whole files, untouched where nothing changed, no name that leaves the folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from onnxbuild.base.codec import decode
from onnxbuild.report.facts import IndexFacts, ReportFacts
from onnxbuild.report.write import write_if_changed, write_reports


def test_pages_twins_and_index(tmp_path: Path, digits: ReportFacts, single: ReportFacts) -> None:
    written = write_reports([digits, single], tmp_path / "reports")
    names = {p.name for p in (tmp_path / "reports").iterdir()}
    assert names == {"digits-cnn.html", "digits-cnn.json", "ocr.html", "ocr.json", "index.html", "index.json"}
    assert {p.name for p in written} == names
    assert decode((tmp_path / "reports/digits-cnn.json").read_bytes(), ReportFacts) == digits
    rows = decode((tmp_path / "reports/index.json").read_bytes(), IndexFacts).rows
    assert [row.target for row in rows] == [t.name for r in (digits, single) for t in r.targets]


def test_unchanged_page_is_not_rewritten(tmp_path: Path, digits: ReportFacts, single: ReportFacts) -> None:
    write_reports([digits, single], tmp_path)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    assert write_reports([digits, single], tmp_path) == []
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before
    other = msgspec.structs.replace(single, description="Changed.")
    assert {p.name for p in write_reports([digits, other], tmp_path)} == {"ocr.html", "ocr.json"}


@pytest.mark.parametrize("name", ["../x", "a/b", "index", "", ".hidden", "a\nb"])
def test_names_cannot_leave_the_folder(tmp_path: Path, digits: ReportFacts, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a report"):
        write_reports([msgspec.structs.replace(digits, name=name)], tmp_path / "reports")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "a.html"
    page.write_bytes(b"old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_if_changed(page, b"new")
    assert page.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
