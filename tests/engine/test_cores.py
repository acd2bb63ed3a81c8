"""How many cores a process may use, from its affinity and from control groups in both of their versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxbuild.stamp import cores, machine


def groups(root: Path, monkeypatch: pytest.MonkeyPatch, memberships: str, files: dict[str, str]) -> None:
    """Show the process other control groups."""
    for name, text in {"proc/self/cgroup": memberships, **{f"sys/fs/cgroup/{n}": t for n, t in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setenv("ONNXBUILD_CGROUP", str(root))


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process run on sixteen cores as far as its affinity goes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("memberships", "files", "expected"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 16),
        ("0::/a/b\n", {"cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, 4),
        ("0::/a\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            "3:memory:/m\n2:cpu,cpuacct:/c\n0::/\n",
            {"cpu,cpuacct/c/cpu.cfs_quota_us": "500000\n", "cpu,cpuacct/c/cpu.cfs_period_us": "100000\n"},
            5,
        ),
        (
            "".join(f"{n}:c{n}:/{'f' * 200}\n" for n in range(40, 1, -1)) + "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "0\n"}, 16),
    ],
)
def test_quota_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memberships: str, files: dict[str, str], expected: int
) -> None:
    groups(tmp_path, monkeypatch, memberships, files)
    assert cores() == expected


def test_affinity_bounds_the_cores_and_a_stamp_is_of_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXBUILD_CGROUP", str(tmp_path))
    assert cores() == 16
    before = machine()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cores() == 1
    assert machine() != before
