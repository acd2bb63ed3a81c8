"""Lines that a make prints: what tools and users' code say moves no cursor, and a target's verdict is one line."""

from __future__ import annotations

from pathlib import Path

from tests.project import MLP, Project, write_mlp


def test_what_user_code_says_moves_no_cursor_and_a_verdict_is_one_line(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write_mlp(project)
    project.write("recipes/mine.py", 'def run(model):\n    raise ValueError("red \\x1b[31m\\nsecond line")\n')
    project.recipe("mlp", MLP + "passes: [{custom: {function: mine.py:run}}]\n")
    done = project.make()
    assert done.code == 1
    assert "\x1b" not in done.out + done.err
    assert "          mine.py:run raised ValueError: red �[31m\n          second line [user-code]\n" in done.err
    failed = [line for line in done.out.splitlines() if line.startswith("failed")]
    assert failed == [
        "failed    mlp:default; mlp/optimize failed: mine.py:run raised ValueError: red �[31m … [user-code]"
    ]
    assert "second line" not in done.out
