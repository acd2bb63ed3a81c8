"""Versions of installed distributions, read from the folders that describe them, as importlib.metadata has them."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from onnxbuild.engine.installed import ALIASES, find_description, installed_version


def test_every_installed_distribution_has_the_version_that_importlib_metadata_says() -> None:
    names = {found.metadata["Name"] for found in importlib.metadata.distributions()} - ALIASES.keys()
    assert len(names) > 20
    assert {name: installed_version(name) for name in names} == {n: importlib.metadata.version(n) for n in names}


def describe(folder: Path, name: str, version: str) -> None:
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    (folder / f"{name}-{version}.dist-info/METADATA").write_text(f"Name: {name}\nVersion: {version}\n\nVersion: 9\n")


def test_the_first_folder_on_the_path_counts_and_a_new_version_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), str(tmp_path / "none")])
    assert installed_version("Some.Tool") == "absent"
    assert find_description("Some.Tool") is None
    describe(tmp_path / "second", "some_tool", "1.0")
    assert installed_version("Some.Tool") == "1.0"
    describe(tmp_path / "first", "some_tool", "2.0")
    assert installed_version("some-tool") == "2.0"


def test_what_is_installed_in_a_distributions_stead_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    describe(tmp_path, "tensorflow", "2.1")
    describe(tmp_path, "tensorflow_cpu", "2.2")
    assert installed_version("tensorflow") == "2.2"


def test_an_egg_is_described_by_its_pkg_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "old.egg-info").mkdir()
    (tmp_path / "old.egg-info/PKG-INFO").write_text("Name: old\nVersion: 0.3\n")
    assert installed_version("old") == "0.3"
