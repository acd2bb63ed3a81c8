"""Draws a project's pages from outcomes and traces, when what they show has changed; makes no facts of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnxbuild import __version__
from onnxbuild.base.atomic import write_atomically
from onnxbuild.base.codec import encode
from onnxbuild.base.digest import digest_bytes
from onnxbuild.engine.run import Options, Outcome, Run
from onnxbuild.plan.action import Plan
from onnxbuild.plan.build import build_plan
from onnxbuild.report.collect import collect
from onnxbuild.report.write import write_reports
from onnxbuild.targets.judge import Judge
from onnxbuild.workplace import Workplace


def draw_if_changed(workplace: Workplace, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
    """Draw the reports, unless what they were last drawn from and the pages themselves are still there."""
    traces = [(name, o.trace.id if o.trace is not None else o.status.value) for name, o in outcomes.items()]
    wanted = digest_bytes(encode([__version__, [t.target for t in plan.targets], traces]))
    mark = workplace.places.state / "reports"
    if all(page.exists() for page in [*pages_of(workplace), mark]) and mark.read_bytes() == wanted.encode():
        return
    mark.unlink(missing_ok=True)  # who dies between two pages leaves pages of two builds
    draw(workplace, outcomes)
    write_atomically(mark, wanted.encode())


def draw(workplace: Workplace, outcomes: Mapping[str, Outcome]) -> str:
    """Draw every recipe's page: `outcomes` of this run, and for all else what would be decided now."""
    plan = build_plan(workplace.recipes, [t.name for recipe in workplace.recipes for t in recipe.targets])
    places, store = workplace.places, workplace.store
    walk = Run(plan, store, places, Options(dry_run=True), lambda _: None, outcomes=dict(outcomes))
    judge = Judge(plan, walk.outcomes)
    walk.execute()
    root = Path(workplace.project.root)
    pages = [collect(r, plan, walk.outcomes, judge, root, workplace.project.output) for r in workplace.recipes]
    write_reports(pages, root / workplace.project.reports)
    return f"{workplace.project.reports}/index.html"


def pages_of(workplace: Workplace) -> list[Path]:
    """Return the files of all pages, the index first."""
    folder = Path(workplace.project.root, workplace.project.reports)
    return [folder / "index.html", *(folder / f"{recipe.name}.html" for recipe in workplace.recipes)]
