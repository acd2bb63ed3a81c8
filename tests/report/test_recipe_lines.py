"""The recipe on a page: lines that make a variant, that require a gate, and that are not as accepted."""

from __future__ import annotations

import msgspec

from onnxbuild.report.facts import ReportFacts, RewrittenFacts
from onnxbuild.report.pages.recipe_lines import MOST_CHARACTERS, all_lines, differences, limit_line, variant_lines
from onnxbuild.report.render import render_recipe
from tests.report.page_text import read

TEXT = """\
# what it is for
format: 1
description: |
  Several lines
  of text
outputs: [
  y,
]

variants:
  # the small one
  small:

    opset: 20   # why
    gates:
      size: {at_most: 1 MB}
  large:
    opset: 21
"""


def recipe(digits: ReportFacts, small: tuple[int, ...], large: tuple[int, ...], text: str = TEXT) -> ReportFacts:
    """Return facts of two variants whose merged keys were written in these lines."""
    first, second = (
        msgspec.structs.replace(
            digits.targets[0], name=f"r:{name}", variant=name, lines=lines, limit_lines={"size": 16}
        )
        for name, lines in (("small", small), ("large", large))
    )
    return msgspec.structs.replace(digits, text=text, targets=(first, second))


def test_a_variants_lines_come_with_their_keys_comments_and_continuations(digits: ReportFacts) -> None:
    facts = recipe(digits, (2, 3, 6, 7, 14, 15, 16), (2, 3, 6, 7, 18))
    small, large = (variant_lines(facts, target) for target in facts.targets)
    assert [line.number for line in small if line.number] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16]
    assert [line.text for line in small[-1:]] == ["⋮"], "what follows was left out"
    assert [line.number for line in large if line.number] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 17, 18]
    assert [line.kind for line in large].count("apart") == 1


def test_one_variant_has_the_whole_recipe_and_no_part_of_it(digits: ReportFacts) -> None:
    facts = recipe(digits, (2,), (2,))
    alone = msgspec.structs.replace(facts, targets=facts.targets[:1])
    assert variant_lines(alone, alone.targets[0]) == ()
    assert len(all_lines(alone)) == len(TEXT.rstrip().split("\n"))


def test_a_limit_leads_nowhere_where_its_line_is_not_on_the_page(digits: ReportFacts) -> None:
    facts = recipe(digits, (2,), (2,))
    assert limit_line(facts, facts.targets[0], "size") == 16
    assert limit_line(facts, facts.targets[0], "latency@cpu") is None
    long = msgspec.structs.replace(facts, text="#" * MOST_CHARACTERS + "\n" + TEXT)
    assert limit_line(long, long.targets[0], "size") is None
    page = read(render_recipe(long))
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = {str(a["href"]) for _, a in page.elements if str(a.get("href", "")).startswith("#line-")}
    assert all(link[1:] in ids for link in links)


def test_lines_are_counted_as_yaml_counts_them(digits: ReportFacts) -> None:
    facts = msgspec.structs.replace(digits, text="a: 1\r\nb: 2\x0c\u2028c: 3")
    assert [line.number for line in all_lines(facts)] == [1, 2, 3]


def test_differences_are_of_those_variants_that_were_accepted_with_another_text(digits: ReportFacts) -> None:
    lines = ("@@ -1,2 +1,2 @@", " format: 1", "-opset: 19", "+opset: <20>")
    every = tuple(target.variant for target in digits.targets)
    facts = msgspec.structs.replace(
        digits, rewritten=(RewrittenFacts(variants=every, lines=lines), RewrittenFacts(variants=("int8",)))
    )
    known, unknown = differences(facts)
    assert known.title == "Lines of the recipe that are not as they were accepted"
    assert [line.kind for line in known.lines] == ["apart", "", "removed", "added"]
    assert "with int8" in unknown.unknown
    assert unknown.lines == ()
    assert "+opset: &lt;20&gt;" in render_recipe(facts)
