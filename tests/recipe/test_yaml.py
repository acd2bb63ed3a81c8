from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxbuild.recipe.node import plain
from onnxbuild.recipe.problems import Problems
from onnxbuild.recipe.scalars import resolve
from onnxbuild.recipe.yaml import load_yaml, parse_yaml


def parse(text: str):
    problems = Problems()
    node = parse_yaml(text, "a.yaml", problems)
    return (plain(node) if node is not None else None), problems.diagnostics


def problem(text: str) -> tuple[str, int, int]:
    _, found = parse(text)
    assert len(found) == 1, found
    assert found[0].place is not None
    return found[0].code, found[0].place.line, found[0].place.column


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.0e-4", 1e-4), (".5", 0.5), ("5.", 5.0), ("1E3", 1000.0), ("-1.5", -1.5),
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("-17", -17), ("+3", 3), ("0b1", "0b1"), ("1_000", "1_000"),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("true", True), ("False", False),
        ("TRUE", True), ("tRue", "tRue"), ("~", None), ("null", None), ("NULL", None), ("nULL", "nULL"),
        ("12:30", "12:30"), ("2:4", "2:4"), ("2024-01-02", "2024-01-02"), ("99%", "99%"), ("1e", "1e"), ("-", "-"),
        (".", "."), ("=", "="), ("1.2.3", "1.2.3"), ("1.1x", "1.1x"), ("9223372036854775807", 2**63 - 1),
        ("0" * 500, "0" * 500),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object):
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".inf", "-.Inf", "1e999", "9223372036854775808", "0x" + "f" * 20])
def test_numbers_that_json_cannot_hold_are_refused(text: str):
    assert problem(f"a: {text}\n") == ("wrong-number", 1, 4)


def test_quoted_scalars_are_texts():
    assert parse("a: '1'\nb: \"on\"\nc: |\n  5\n")[0] == {"a": "1", "b": "on", "c": "5\n"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ("duplicate-key", 3, 1)),
        ("s: {x: 1, x: 2}\n", ("duplicate-key", 1, 11)),
        ("a: 1\nb:\n\tc: 1\n", ("yaml-tab", 3, 1)),
        ("a:\n  b: 1\n\tc: 2\n", ("yaml-tab", 3, 1)),
        ("a: !!int 3\n", ("yaml-tag", 1, 4)),
        ("a: !ruby/object x\n", ("yaml-tag", 1, 4)),
        ("a: !!python/object/apply:os.system [ls]\n", ("yaml-tag", 1, 4)),
        ("d: &d {x: 1}\ne:\n  <<: *d\n", ("yaml-merge-key", 3, 3)),
        ("a: 1\n---\nb: 2\n", ("yaml-documents", 2, 1)),
        ("1: a\n", ("key-not-text", 1, 1)),
        ("x: {true: a}\n", ("key-not-text", 1, 5)),
        ("? [1]\n: a\n", ("key-not-text", 1, 3)),
        ("a: b: c\n", ("yaml-syntax", 1, 5)),
        ("a: {b: 1\nc: 2\n", ("yaml-syntax", 2, 2)),
        ("a: [1, 2\n", ("yaml-syntax", 2, 1)),
        ('a: "x\n', ("yaml-syntax", 2, 1)),
        ("a: @x\n", ("yaml-syntax", 1, 4)),
        ("a: *nowhere\n", ("yaml-alias", 1, 4)),
        ("a: &a [1, *a]\n", ("yaml-alias", 1, 11)),
        ("a: b\x01c\n", ("not-text", 1, 5)),
        ("", ("empty-file", 1, 1)),
        ("# only a comment\n\n", ("empty-file", 1, 1)),
        ("---\n", ("empty-file", 1, 1)),
    ],
)
def test_what_is_refused_is_located(text: str, expected: tuple[str, int, int]):
    assert problem(text) == expected


def test_the_line_is_shown():
    _, found = parse("a: 1\nb: {x: 1, x: 2}  # twice\n")
    assert found[0].context == "b: {x: 1, x: 2}  # twice"
    assert found[0].hint == "keep one of the two"
    assert found[0].note == "first on line 2"


def test_every_duplicate_is_found():
    _, found = parse("a: 1\na: 2\nb: 1\nb: 2\n<<: x\n")
    assert [d.code for d in found] == ["duplicate-key", "duplicate-key", "yaml-merge-key"]


def test_a_few_aliases_are_legal():
    assert parse("a: &x [1, 2]\nb: *x\n")[0] == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert problem("\n".join(lines)) == ("yaml-alias", 4, 20)


def test_few_aliases_cannot_grow_large_either():
    many = ", ".join("x" * 4000)
    text = f"a: &a [{many}]\n" + "".join(f"b{n}: *a\n" for n in range(19))
    assert problem(text)[0] == "file-too-large"


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{x: " * 5000 + "1" + "}" * 5000])
def test_deep_nesting_is_refused(text: str):
    assert problem(text)[:2] == ("yaml-depth", 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", ("not-text", 1, 1)),
        (b"a: 1\nb: \xff\n", ("not-text", 2, 4)),
        (b"a: 1\nb: \x00\n", ("not-text", 2, 4)),
        ("a: 1\n".encode("utf-16"), ("not-text", 1, 1)),
        (b"a: 1\n" * 300_000, ("file-too-large", 1, 1)),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, expected: tuple[str, int, int]):
    file = tmp_path / "a.yaml"
    file.write_bytes(data)
    problems = Problems()
    assert load_yaml(file, "a.yaml", problems) is None
    (found,) = problems.diagnostics
    assert found.place is not None
    assert (found.code, found.place.line, found.place.column) == expected


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    node = load_yaml(file, "a.yaml", Problems())
    assert node is not None
    assert plain(node) == {"a": 1, "b": "x"}


def test_columns_count_characters():
    node = parse_yaml("ü: {日本: 1}\n", "a.yaml", Problems())
    assert node is not None
    assert str(node.entries["ü"].node.entries["日本"].node.place) == "a.yaml:1:9"


@settings(max_examples=150)
@given(st.text(alphabet="ab:-[]{},&*!|>'\"# \n\t?<%@`01.é\x00\x85", max_size=60))
def test_any_text_is_a_tree_or_diagnostics(text: str):
    problems = Problems()
    node = parse_yaml(text, "a.yaml", problems)
    assert (node is None) <= bool(problems.diagnostics)
    for found in problems.diagnostics:
        assert found.place is not None
        assert found.place.line >= 1
        assert found.place.column >= 1
