"""The live display on a real terminal: it shows what runs, and leaves nothing behind, however a make ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.console.terminal import Terminal, screen
from tests.project import MLP, Project, write_mlp

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
LOADER = """\
import pathlib, time
import numpy as np


def load():
    end = time.monotonic() + 60
    while pathlib.Path({hold!r}).exists() and time.monotonic() < end:
        time.sleep(0.01)
    {then}
    rng = np.random.default_rng(0)
    return {{"x": rng.normal(size=(20, 8)).astype(np.float32), "labels": rng.integers(0, 4, 20)}}
"""


@contextmanager
def held_make(project: Project, then: str = "pass", *arguments: str, **env: str) -> Iterator[Terminal]:
    """A make on a terminal whose loader waits until the file `hold` goes away, and then does `then`."""
    write_mlp(project)
    hold = project.root.parent / "hold"
    hold.touch()
    project.write("recipes/data/load.py", LOADER.format(hold=str(hold), then=then))
    project.recipe("mlp", MLP.replace("data: data/test.npz", "data: {loader: data/load.py:load}"))
    terminal = Terminal(project, "make", "-j2", *arguments, env=env)
    try:
        yield terminal
    finally:
        hold.unlink(missing_ok=True)
        if terminal.process.poll() is None:
            terminal.process.kill()


def is_clean(text: str) -> bool:
    """Whether the cursor is back and nothing of the display is left on the screen."""
    shown = "\n".join(screen(text))
    return text.count(HIDE) <= text.count(SHOW) and text.rfind(HIDE) < text.rfind(SHOW) and " done, " not in shown


def test_display_shows_what_runs_and_is_gone_at_the_end(project: Project) -> None:
    with held_make(project) as make:
        text = make.read(lambda text: "mlp/data" in text and "1 of " in text and "1 running" in text)
        assert "for mlp:default" in text
        (project.root.parent / "hold").unlink()
        text = make.read()
        assert make.close() == 0
    assert is_clean(text)
    lines = [line for line in screen(text) if line]
    assert lines[-1].startswith("1 passed:")
    assert all(line.split()[0] in ("ran", "passed", "1", "note", "warning") for line in lines), lines


def test_display_is_gone_after_a_failure(project: Project) -> None:
    with held_make(project, then="raise ValueError('broken on purpose')") as make:
        make.read(lambda text: "running" in text)
        (project.root.parent / "hold").unlink()
        text = make.read()
        assert make.close() == 1
    assert is_clean(text)
    assert any("broken on purpose" in line for line in screen(text))


def test_display_is_gone_after_ctrl_c(project: Project) -> None:
    with held_make(project) as make:
        make.read(lambda text: "mlp/data" in text and "running" in text)
        make.press(b"\x03")
        text = make.read()
        assert make.close() == 130
    assert is_clean(text)
    assert any("interrupted" in line for line in screen(text))


def test_lines_stay_plain_where_asked_for(project: Project) -> None:
    with held_make(project, "pass", NO_COLOR="1") as make:
        (project.root.parent / "hold").unlink()
        text = make.read()
        assert make.close() == 0
    assert HIDE not in text
    assert " done, " not in text
