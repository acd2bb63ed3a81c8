"""`make --watch`: a change is built, a broken recipe waits to be mended, Ctrl-C leaves with 130."""

from __future__ import annotations

import numpy as np

from tests.console.terminal import Terminal
from tests.project import MLP, Project


def built(text: str) -> int:
    """Return how many builds have ended and been followed by waiting."""
    return text.count("; Ctrl-C ends")


def test_watch_builds_changes_and_waits_for_a_broken_recipe(mlp: Project) -> None:
    make = Terminal(mlp, "make", "--watch", "-j2", env={"NO_COLOR": "1"})
    try:
        text = make.read(lambda text: built(text) == 1)
        assert "1 passed: " in text

        mlp.recipe("mlp", MLP.replace("opset: 20", "opset: twenty"))
        text = make.read(lambda text: built(text) == 2)[len(text) :]
        assert "recipes/mlp.yaml:6:8" in text
        assert make.process.poll() is None

        mlp.recipe("mlp", MLP)
        text += make.read(lambda text: built(text) == 3)
        assert "Nothing to do" in text

        rng = np.random.default_rng(1)
        x = rng.normal(size=(8, 8)).astype(np.float32)
        np.savez(mlp.root / "recipes/data/test.npz", x=x, labels=rng.integers(0, 4, 8))
        make.read(lambda text: built(text) == 4)
        assert make.text.count("input recipes/data/test.npz changed") == 1

        make.press(b"\x03")
        make.read()
        assert make.close() == 130
    finally:
        if make.process.poll() is None:
            make.process.kill()
