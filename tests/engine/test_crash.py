"""The library that a process died in is read from its log, and only of a death that faulthandler tells of."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxbuild.engine.crash import library_of


def stack(*files: str, what: str = "Segmentation fault") -> str:
    frames = "".join(f'  File "{file}", line 7 in run\n' for file in files)
    return (
        f"Fatal Python error: {what}\n\nStack (most recent call first):\n{frames}\nExtension modules: numpy (total: 1)"
    )


@pytest.mark.parametrize(
    ("text", "ended", "library"),
    [
        (stack("/v/lib/python3.11/site-packages/onnxslim/core.py", "/p/a.py"), "SIGSEGV", "onnxslim"),
        (stack("/usr/lib/python3/dist-packages/torch/nn/a.py", what="Aborted"), "SIGABRT", "torch"),
        (stack("/p/a.py", "/v/site-packages/onnxruntime/capi/a.py"), "SIGSEGV", None),
        (stack("/usr/lib/python3.11/ctypes/__init__.py", "/v/site-packages/a/b.py"), "SIGSEGV", None),
        (stack("/v/site-packages/a/b.py") + "\nwent on\n" + stack("/v/site-packages/c/d.py"), "SIGSEGV", "c"),
        (stack("/v/site-packages/a/b.py"), "SIGKILL", None),
        (stack("/v/site-packages/a/b.py"), "SIGBUS", None),
        ("nothing of it", "SIGSEGV", None),
    ],
)
def test_the_innermost_frame_says_it(tmp_path: Path, text: str, ended: str, library: str | None) -> None:
    (tmp_path / "log").write_text("x" * 100_000 + "\n" + text)
    assert library_of(tmp_path / "log", f"was ended by {ended}") == library


def test_without_a_log_nothing_is_known(tmp_path: Path) -> None:
    assert library_of(tmp_path / "log", "was ended by SIGSEGV") is None
