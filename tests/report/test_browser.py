"""Pages in a real browser: no request, no dialog, no error, no sideways scroll; skipped without Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onnxbuild.report.facts import ReportFacts
from onnxbuild.report.render import render_recipe
from onnxbuild.report.write import write_reports
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


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_page_scrolls_sideways(page: Any, tmp_path: Path, digits: ReportFacts, width: int) -> None:
    write_reports([digits, msgspec.structs.replace(digits, name="other")], tmp_path)
    page.set_viewport_size({"width": width, "height": 900})
    for name in ("digits-cnn", "index"):
        page.goto((tmp_path / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.trouble == []


def test_the_index_filters_and_sorts(page: Any, tmp_path: Path, digits: ReportFacts) -> None:
    write_reports([digits], tmp_path)
    page.goto((tmp_path / "index.html").as_uri())
    page.fill(".filter input", "failed int4")
    assert page.locator("tbody tr:visible").count() == 1
    page.fill(".filter input", "")
    page.click("thead button:has-text('Size')")
    assert "int8" in page.locator("tbody tr").nth(1).inner_text()
    assert page.locator("th[aria-sort=ascending]").count() == 1
