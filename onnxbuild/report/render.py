"""Pages to HTML: templates, style and script in one file that may load nothing; knows no facts beyond their JSON."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from onnxbuild import __version__
from onnxbuild.base.codec import encode
from onnxbuild.ir.facts import ComparisonFacts, ModelFacts
from onnxbuild.recipe.changes import LockChanges
from onnxbuild.report.facts import IndexFacts, IndexRow, ReportFacts
from onnxbuild.report.names import markup_name, script_json, visible
from onnxbuild.report.pages.comparison import comparison_page
from onnxbuild.report.pages.index import columns, index_page, index_row, timed_providers
from onnxbuild.report.pages.locks import locks_page
from onnxbuild.report.pages.model import model_page
from onnxbuild.report.pages.recipe import MOST_DETAILED, recipe_page
from onnxbuild.report.pages.table import Mark
from onnxbuild.report.rows import row_markup

TEMPLATES = Path(__file__).parent / "templates"
EMBED_LIMIT = 350_000
"""Bytes of JSON that a page carries inside; above, it holds a summary and points to the twin."""
PAGE_LIMIT = 1_000_000
"""Characters above which a page holds a summary of its JSON, then fewer variants in detail; it says both."""
_FEWER = (8, 6, 4, 3, 2, 1, 0)
_SUMMARY_GATES = 50
_TOO_LARGE = b'{"complete":false}'


def load_templates() -> None:
    """Read and compile the templates, which takes longer than one page."""
    for name in ("recipe.html.j2", "index.html.j2", "base.html.j2", "parts.html.j2"):
        _environment().get_template(name)


def render_recipe(facts: ReportFacts) -> str:
    """Return one recipe's page: identical facts give identical bytes, volatile ones only inside `data-volatile`."""
    stable = encode(msgspec.structs.replace(facts, volatile=None))
    run = encode(facts.volatile)
    volatile = script_json(run if len(run) <= EMBED_LIMIT // 2 else _TOO_LARGE)
    template = _environment().get_template("recipe.html.j2")
    most = min(len(facts.targets), MOST_DETAILED)
    tries = [(most, True)] if len(stable) <= EMBED_LIMIT else []
    for detailed, complete in (*tries, (most, False), *((fewer, False) for fewer in _FEWER if fewer < most)):
        json = script_json(stable if complete else _summary(facts))
        page = recipe_page(facts, detailed)
        html = template.render(page=page, complete=complete, json=json, volatile_json=volatile)
        if len(html) <= PAGE_LIMIT:
            break
    return html


def render_row(row: IndexRow, providers: tuple[str, ...]) -> str:
    """Return one target's row of the index, with columns for the latency on `providers`."""
    return str(row_markup(index_row(row, providers), columns(providers), _mark))


def render_index(facts: IndexFacts, drawn: Mapping[str, str] | None = None) -> str:
    """Return the index page; `drawn` are its rows by target, where `render_row` has drawn them for all providers."""
    whole = encode(facts)
    if drawn is None:
        drawn = {row.target: render_row(row, timed_providers(facts.rows)) for row in facts.rows}
    complete = len(whole) <= EMBED_LIMIT
    data = whole if complete else encode({"complete": False, "twin": "index.json", "targets": len(facts.rows)})
    page = index_page(facts, {name: Markup(row) for name, row in drawn.items()})  # noqa: S704  # ours
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            page=page,
            rest=script_json(encode(page.rest)),
            complete="true" if complete else "false",
            json=script_json(data),
        )
    )


def render_model(facts: ModelFacts, name: str) -> str:
    """Return the page of one model file."""
    page = model_page(facts, name, __version__)
    return _environment().get_template("model.html.j2").render(page=page, json=_embedded(facts))


def render_comparison(facts: ComparisonFacts, old: str, new: str) -> str:
    """Return the page on what two model files differ in."""
    page = comparison_page(facts, old, new, __version__)
    return _environment().get_template("comparison.html.j2").render(page=page, json=_embedded(facts))


def render_locks(facts: LockChanges) -> str:
    """Return the page on what locks differ in."""
    page = locks_page(facts, __version__)
    return _environment().get_template("locks.html.j2").render(page=page, json=_embedded(facts))


def _embedded(facts: ModelFacts | ComparisonFacts | LockChanges) -> Markup:
    whole = encode(facts)
    return script_json(whole if len(whole) <= EMBED_LIMIT else _TOO_LARGE)


def content_policy(style: str, script: str) -> str:
    """Return the policy of a page that loads nothing and runs only `style` and `script`, by their SHA-256."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _mark(mark: Mark) -> str:
    parts: Any = _environment().get_template("parts.html.j2").module
    return str(parts.mark(mark))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        keep_trailing_newline=True,
    )
    style = (TEMPLATES / "style.css").read_text("utf-8")
    script = (TEMPLATES / "script.js").read_text("utf-8")
    environment.filters["name"] = markup_name
    environment.filters["text"] = _cut_text
    environment.globals["draw_row"] = functools.partial(row_markup, draw_mark=_mark)
    environment.globals.update(
        style=Markup(style), script=Markup(script), policy=content_policy(style, script)  # noqa: S704  # our own files
    )  # fmt: skip
    return environment


def _shown(value: object) -> object:
    return visible(value) if type(value) is str else value


def _cut_text(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n… ({len(text):,} characters, whole in the log)"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _summary(facts: ReportFacts) -> bytes:
    targets = [{"name": t.name, "verdict": t.verdict, "gates": t.gates[:_SUMMARY_GATES]} for t in facts.targets[:50]]
    return encode({"complete": False, "twin": f"{facts.name}.json", "name": facts.name, "targets": targets})
