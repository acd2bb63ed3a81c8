from __future__ import annotations

from onnxbuild.base.diagnostics import Diagnostic, Place, Severity
from onnxbuild.base.render import diagnostic_json, render


def diagnostic(context: str = "opst: 20", column: int = 1, **changes: object) -> Diagnostic:
    values = {"code": "unknown-key", "message": "unknown key 'opst'", "hint": "did you mean 'opset'?"} | changes
    return Diagnostic(place=Place("recipes/a.yaml", 12, column), context=context, **values)  # type: ignore[arg-type]


def test_the_whole_text():
    assert render(diagnostic(note="it is not in the schema")) == (
        "recipes/a.yaml:12:1: error[unknown-key]: unknown key 'opst'\n"
        "  12 | opst: 20\n"
        "     | ^\n"
        "  note: it is not in the schema\n"
        "  hint: did you mean 'opset'?"
    )


def test_without_a_place():
    found = Diagnostic(code="no-project", message="no project here", severity=Severity.WARNING)
    assert render(found) == "warning[no-project]: no project here"


def caret(context: str, column: int) -> tuple[str, str]:
    _, line, mark, _ = render(diagnostic(context, column)).split("\n")
    return line.partition("| ")[2], mark.partition("| ")[2]


def test_the_caret_stands_under_the_character():
    assert caret("a: {b: 1}", 5) == ("a: {b: 1}", "    ^")
    assert caret("\ta: 1", 2) == (" a: 1", " ^")
    assert caret("日本: x", 3) == ("日本: x", "    ^")
    assert caret("e\u0301: x", 3) == ("e\u0301: x", " ^")


def test_a_long_line_is_cut_around_the_place():
    line, mark = caret("a" * 300 + "X" + "b" * 300, 301)
    assert len(line) < 200
    assert line[mark.index("^")] == "X"


def test_control_characters_do_not_reach_the_terminal():
    text = render(diagnostic("a: \x1b[31mred", 1, message="bad \x1b[2J\u202e text"))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_colour_only_when_asked():
    assert "\x1b[" in render(diagnostic(), color=True)
    assert "\x1b[" not in render(diagnostic())


def test_json_has_every_part():
    assert diagnostic_json(diagnostic()) == {
        "code": "unknown-key",
        "message": "unknown key 'opst'",
        "place": {"file": "recipes/a.yaml", "line": 12, "column": 1},
        "context": "opst: 20",
        "note": None,
        "hint": "did you mean 'opset'?",
        "severity": "error",
    }
