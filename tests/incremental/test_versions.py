"""No stage's code changes without a decision about its version."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from onnxbuild.stages.table import STAGES
from tests.incremental.closures import ROOT, Code, Record, advice, changed_without_a_version, closures, read_record

PRUNING = {"blame", "prune", "repair"}
"""Stages that prune."""


def test_no_stage_changed_without_its_version() -> None:
    recorded, now = read_record(), unchanged()
    stale = changed_without_a_version(recorded, now)
    assert not stale, advice(stale)
    unrecorded = [name for name in now if recorded.get(name, {}).get("version") != now[name]["version"]]
    assert not unrecorded, f"not on the list: {unrecorded}; run: python -m tests.incremental.closures"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package's source."""
    shutil.copytree(ROOT / "onnxbuild", tmp_path / "onnxbuild", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@functools.cache
def unchanged() -> Record:
    return closures()


def changed(source: Path) -> set[str]:
    return set(changed_without_a_version(unchanged(), closures(Code(source))))


def edit(source: Path, name: str, old: str, new: str) -> None:
    file = source / "onnxbuild" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_copy_of_the_source_is_the_same(source: Path) -> None:
    assert changed(source) == set()


def test_changed_constant_of_a_distant_module_is_seen(source: Path) -> None:
    edit(source, "ir/model.py", "INLINE_LIMIT = 1_000_000", "INLINE_LIMIT = 2_000_000")
    assert changed(source) == {
        *("auto", "blame", "canonicalize", "export", "optimize", "prune", "quantize", "repair"),
    }


def test_changed_function_behind_a_function_s_own_import_is_seen(source: Path) -> None:
    edit(source, "ir/pruning.py", "def prune(", "def _nothing() -> int:\n    return 1\n\n\ndef prune(")
    assert changed(source) == set()  # nobody calls it
    edit(source, "ir/pruning.py", "def prune(", "SOME = _nothing()\n\n\ndef prune(")
    assert changed(source) == set()
    file = source / "onnxbuild/ir/pruning.py"
    file.write_text(file.read_text() + "\nprint(SOME)\n")
    assert changed(source) == PRUNING


def test_changed_source_of_a_table_is_seen(source: Path) -> None:
    file = source / "onnxbuild/sources/torch_source.py"
    file.write_text(file.read_text().replace("dynamo=True", "dynamo=bool(1)"))
    assert changed(source) == {"canonicalize", "describe", "export", "reference"}


def test_comment_docstring_and_layout_are_not_seen(source: Path) -> None:
    for file in (source / "onnxbuild").rglob("*.py"):
        text = file.read_text()
        file.write_text(
            "# a comment\n" + text.replace('    """Return ', '    """Give back ').replace("\n\n\n", "\n\n\n\n")
        )
    assert changed(source) == set()


def test_field_of_a_type_that_a_stage_does_not_use_is_not_seen(source: Path) -> None:
    pruning = "class Pruning(msgspec.Struct, frozen=True, kw_only=True):\n"
    edit(source, "recipe/types.py", pruning, f"class Fresh:\n    pass\n\n\n{pruning}    fresh: int = 0\n")
    assert changed(source) == PRUNING


def test_raised_version_settles_it(source: Path) -> None:
    edit(source, "ir/pruning.py", "def prune(", "@staticmethod\ndef prune(")
    recorded, now = unchanged(), closures(Code(source))
    assert set(changed_without_a_version(recorded, now)) == PRUNING
    for name in PRUNING:
        now[name]["version"] = STAGES[name].version + 1
    assert changed_without_a_version(recorded, now) == {}


def test_advice_names_the_stage_the_module_and_both_ways() -> None:
    text = advice({"prune": ["onnxbuild.ir.pruning"]})
    assert "prune: onnxbuild.ir.pruning" in text
    assert "raise `version` in onnxbuild/stages/" in text
    assert "--same prune" in text
