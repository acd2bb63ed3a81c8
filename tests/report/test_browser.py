"""Pages in a real browser: no request, no dialog, no error, no sideways scroll; skipped without Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from onnxbuild.ir.comparison import compare
from onnxbuild.ir.describe import describe
from onnxbuild.recipe.changes import LockChanges, RecipeChanges
from onnxbuild.report.facts import IndexFacts, ReportFacts
from onnxbuild.report.render import render_comparison, render_index, render_locks, render_model, render_recipe
from onnxbuild.report.summary import index_facts
from onnxbuild.report.write import write_reports
from tests.ir.graphs import transformer
from tests.report.test_render import renamed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAME = "<img src=x onerror=alert(1)>\"'\u202egnp.exe</script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with driver.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.trouble = []
    page.on("dialog", lambda dialog: (page.trouble.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("console", lambda message: page.trouble.append(message.text))
    page.on(
        "request", lambda request: page.trouble.append(request.url) if not request.url.startswith("file:") else None
    )
    yield page
    context.close()


def test_hostile_names_in_a_browser(page: Any, tmp_path: Path, digits: ReportFacts) -> None:
    (tmp_path / "a.html").write_text(render_recipe(renamed(digits, NAME)), "utf-8")
    page.goto((tmp_path / "a.html").as_uri())
    assert page.trouble == []
    assert page.evaluate("document.querySelector('h1').textContent") in (NAME, NAME[:52] + "…" + NAME)


def test_the_index_filters_and_sorts(page: Any, tmp_path: Path, digits: ReportFacts) -> None:
    write_reports([digits], tmp_path)
    page.goto((tmp_path / "index.html").as_uri())
    page.fill(".filter input", "failed int4")
    assert page.locator("tbody tr:visible").count() == 1
    page.fill(".filter input", "")
    page.click("thead button:has-text('Size')")
    assert "int8" in page.locator("tbody tr").first.inner_text()
    assert "int4" in page.locator("tbody tr").last.inner_text(), "what has no size comes last"
    assert page.locator("th[aria-sort=ascending]").count() == 1
    page.click("button.tally:has-text('Failed')")
    assert page.locator("tbody tr:visible").count() == 2
    assert page.locator("[role=status]").inner_text() == "2 of 5"
    page.fill(".filter input", "int4")
    page.click("button.tally:has-text('Passed')")
    assert page.locator("tbody tr:visible").count() == 0
    page.click("button.tally[aria-pressed=true]")
    assert page.locator("tbody tr:visible").count() == 1


def test_a_limit_leads_to_its_line_of_the_recipe(browser: Any, tmp_path: Path, digits: ReportFacts) -> None:
    write_reports([digits], tmp_path)
    for script in (True, False):
        context = browser.new_context(java_script_enabled=script, viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto((tmp_path / "digits-cnn.html").as_uri())
        assert not page.locator("#line-31").is_visible()
        page.click("#gates a:has-text('at most 30% of fp32')")
        page.locator("#line-31").wait_for(state="visible")
        assert page.locator("#line-31").inner_text().strip() == "gates: {size: {at_most: 30% of fp32}}"
        context.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, digits: ReportFacts, single: ReportFacts) -> dict[str, Path]:
    """A page of each kind, by its name."""
    folder = tmp_path_factory.mktemp("pages")
    write_reports([digits, single], folder)
    old, new = transformer(6), transformer(6)
    for node in new.graph.node:
        node.op_type = {"Erf": "Tanh"}.get(node.op_type, node.op_type)
    for name, model in (("old", old), ("new", new)):
        onnx.save(model, folder / f"{name}.onnx")
    (folder / "model.html").write_text(render_model(describe(folder / "old.onnx"), "old.onnx"), "utf-8")
    difference = compare(folder / "old.onnx", folder / "new.onnx")
    (folder / "diff.html").write_text(render_comparison(difference, "old.onnx", "new.onnx"), "utf-8")
    changes = tuple(target.changes for target in digits.targets if target.changes is not None)
    recipe = RecipeChanges(lock="recipes/digits-cnn.lock.json", targets=changes, lines=("-opset: 19", "+opset: 20"))
    locks = LockChanges(old="main", new="the working tree", recipes=(recipe,))
    (folder / "locks.html").write_text(render_locks(locks), "utf-8")
    return {name: folder / f"{name}.html" for name in ("digits-cnn", "ocr", "index", "model", "diff", "locks")}


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_page_scrolls_sideways(page: Any, pages: dict[str, Path], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in pages.values():
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    assert page.trouble == []


PORTRAIT, LANDSCAPE = 703, 1032
"""Pixels of A4 between margins of 12 mm."""


def test_paper_shows_all_and_no_controls(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = false; })")
        page.set_viewport_size({"width": LANDSCAPE if name == "index" else PORTRAIT, "height": 1000})
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        cut = page.evaluate(
            """() => [...document.querySelectorAll('.scroll, pre')].filter(
            box => box.offsetHeight && box.scrollWidth > box.clientWidth + 1).map(box => box.ariaLabel)"""
        )
        assert cut == [], name
        tables = "[...document.querySelectorAll('details table')].filter(table => !table.closest('.same'))"
        assert page.evaluate(f"{tables}.filter(table => !table.checkVisibility()).length") == 0, name
        controls = page.locator("button.copy, button.more, .filter, .contents, .skip, .same, .name > summary")
        assert not any(controls.nth(n).is_visible() for n in range(controls.count())), name
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--panel')") == "#f5f7f8"
    context.close()


def test_everything_works_from_the_keyboard(page: Any, pages: dict[str, Path]) -> None:
    def press_until(selector: str, key: str = "Tab", most: int = 60) -> None:
        for _ in range(most):
            page.keyboard.press(key)
            if page.evaluate("(what) => document.activeElement.matches(what)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    page.goto(pages["index"].as_uri())
    press_until("button.tally")
    page.keyboard.press("Enter")
    assert page.locator("tbody tr:visible").count() < page.locator("tbody tr").count()
    page.keyboard.press("Space")
    press_until(".filter input")
    page.keyboard.type("int8")
    assert page.locator("tbody tr:visible").count() == 1
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    press_until("th button.sort")
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text() == "Target"
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text() == "Target"
    press_until("tbody a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ocr.html#*")
    page.goto(pages["digits-cnn"].as_uri())
    page.evaluate("document.querySelector('.variant > details > summary').focus()")
    was = page.locator(".variant > details").first.get_attribute("open")
    page.keyboard.press("Enter")
    assert page.locator(".variant > details").first.get_attribute("open") != was


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (768, "dark")])
@pytest.mark.parametrize("name", ["digits-cnn", "ocr", "index", "model", "diff", "locks"])
def test_axe_finds_nothing_serious(browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(pages[name].as_uri())
    found = axe.Axe().run(page).response["violations"]
    context.close()
    grave = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
    assert grave == []


def test_axe_is_not_blind(page: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    (tmp_path / "a.html").write_text("<html><body><img src='data:,'><p style='color:#ccc'>pale</p></body></html>")
    page.goto((tmp_path / "a.html").as_uri())
    assert {"image-alt", "color-contrast"} <= {v["id"] for v in axe.Axe().run(page).response["violations"]}


def test_everything_that_scrolls_can_be_reached_by_keyboard(page: Any, pages: dict[str, Path]) -> None:
    for name in ("digits-cnn", "diff", "locks"):
        page.goto(pages[name].as_uri())
        stuck = page.evaluate(
            """() => [...document.querySelectorAll('.scroll')].filter(box => box.offsetParent && box.tabIndex < 0
            && (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight)).length"""
        )
        assert stuck == 0


def test_pictures_are_drawn_without_script(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(pages["diff"].as_uri())
    box = page.locator("svg.graph").first.bounding_box()
    assert box is not None
    assert box["height"] > 100
    assert page.locator("svg.graph .box.changed").count() == 1
    context.close()


def test_thousands_of_rows_stay_usable(page: Any, tmp_path: Path, digits: ReportFacts) -> None:
    row = index_facts([digits]).rows[1]
    rows = tuple(
        msgspec.structs.replace(
            row,
            target=f"net-{n}:int8" if n != 2000 else NAME,
            recipe=f"net-{n}",
            link=f"./net-{n}.html#int8",
            bytes=n * 1000,
            size_ratio=None,
        )
        for n in range(5000)
    )
    assert row.bytes_trend, "with lines there is no room for as many"
    (tmp_path / "index.html").write_text(render_index(IndexFacts(rows=rows)), "utf-8")
    assert (tmp_path / "index.html").stat().st_size < 1_100_000
    page.goto((tmp_path / "index.html").as_uri())
    said = "showing ([0-9,]+) of 5,000; the filter finds ([0-9,]+) more, in short"
    shown = re.fullmatch(said, page.locator(".shown").inner_text())
    assert shown is not None
    in_full, in_short = (int(shown[n].replace(",", "")) for n in (1, 2))
    assert in_full == page.locator("tbody tr").count() > 800
    assert page.locator("tbody tr:visible").count() == 200, "as many as are laid out in no time"
    page.click("thead button:has-text('Size')")
    page.click("thead button:has-text('Size')")
    assert page.locator("tbody tr:visible").first.inner_text().startswith(f"net-{in_full - 1}:int8")
    assert page.locator("tbody tr:visible").count() == 200
    page.fill(".filter input", f"net-{in_full + in_short - 1}:")
    assert page.locator("tbody tr:visible").count() == 1
    assert page.locator("tbody tr:visible a").get_attribute("href") == f"./net-{in_full + in_short - 1}.html#int8"
    page.fill(".filter input", "<img")
    assert page.locator("tbody tr:visible a").inner_text() == NAME
    page.fill(".filter input", "net-77:")
    assert page.locator("tbody tr:visible").count() == 1
    page.fill(".filter input", "")
    page.click("button.more")
    assert page.evaluate("document.querySelectorAll('tbody tr:not([hidden], .beyond)').length") == in_full + in_short
    assert page.trouble == []


def test_paper_has_the_rows_that_the_screen_keeps_back(page: Any, tmp_path: Path, digits: ReportFacts) -> None:
    row = msgspec.structs.replace(index_facts([digits]).rows[1], bytes_trend=(), metric_trend=())
    rows = tuple(msgspec.structs.replace(row, target=f"net-{n}:int8") for n in range(300))
    (tmp_path / "index.html").write_text(render_index(IndexFacts(rows=rows)), "utf-8")
    page.goto((tmp_path / "index.html").as_uri())
    assert page.locator("tbody tr:visible").count() == 200
    assert page.locator("button.more").inner_text() == "Show all 300 rows"
    page.emulate_media(media="print")
    assert page.locator("tbody tr:visible").count() == 300
