"""The rules of every page: identical bytes, nothing loaded, names harmless, tables capped, JSON inside."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import Remark
from onnxbuild.ir.facts import InitializerFacts, NodeFacts, PartFacts, PictureFacts
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.report.facts import IndexFacts, IndexLatency, ProviderAccuracy, ReportFacts, RewrittenFacts, RunFacts
from onnxbuild.report.render import render_index, render_recipe
from onnxbuild.report.summary import index_facts
from onnxbuild.stages.validate import ValidateFacts
from tests.report.page_text import read, visible_text, without_volatile

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "\"><img src=x onerror=alert(3)>'",
    "a\u202egnp.exe\u2066b",
    "nul\x00and\x1bescape",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;&amp;",
    "]]>--><!--",
    "x" * 9_000,
]


def replaced(facts: ReportFacts, **changes: object) -> ReportFacts:
    return msgspec.structs.replace(facts, **changes)


def renamed(facts: ReportFacts, name: str) -> ReportFacts:
    """Put `name` wherever a recipe or a model can put one."""
    step = facts.targets[1].steps[0]
    assert step.export is not None
    model = step.export.model
    weight = InitializerFacts(name=name, dtype=name, shape=(2,), bytes=8, zeros=1)
    node = NodeFacts(name=name, op=name, text=name, weights=(name,), dtype=name, change="new", cut=1, nested=2)
    ends = (
        NodeFacts(name=name, op="", kind="input", dtype=name),
        NodeFacts(name=name, op="", kind="output", reads=(1,)),
    )
    boxes = (ends[0], msgspec.structs.replace(node, reads=(0,)), ends[1])
    model = msgspec.structs.replace(
        model,
        picture=PictureFacts(whole=True, parts=(PartFacts(boxes),), nodes=1, shown=1, folded=1, changed=1, removed=1),
        inputs=(msgspec.structs.replace(model.inputs[0], name=name, shape=(name, None)),),
        operators={name: 3, "Conv": 1},
        opsets={name: 1, "": 20},
        weights=(weight,),
        weight_bytes_by_dtype={name: 8},
    )
    measured = step.accuracy[0].facts
    outputs = (msgspec.structs.replace(measured.outputs[0], name=name),)
    accuracy = (msgspec.structs.replace(step.accuracy[0], facts=msgspec.structs.replace(measured, outputs=outputs)),)
    step = msgspec.structs.replace(
        step, export=msgspec.structs.replace(step.export, model=model), accuracy=accuracy, title=name
    )
    gate = GateResult(gate=name, provider=name, limit=name, measured=name, verdict=Verdict.FAILED, reason=name)
    target = msgspec.structs.replace(facts.targets[1], variant=name, name=name, steps=(step,), gates=(gate,))
    action = msgspec.structs.replace(
        facts.actions[0], name=name, title=name, warnings=(Remark(name, name),), command=name
    )
    rewritten = (RewrittenFacts(variants=(name,), lines=(f"+{name}",)),)
    named = replaced(facts, name=name, file=name, description=name, text=name, rewritten=rewritten)
    return replaced(named, targets=(target,), actions=(action,))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(digits: ReportFacts, name: str) -> None:
    plain = [
        tag for tag, _ in read(render_recipe(renamed(digits, "plain"))).elements if tag in ("script", "img", "style")
    ]
    page = read(render_recipe(renamed(digits, name)))
    assert [tag for tag, _ in page.elements if tag in ("script", "img", "style")] == plain
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], tag
        link = attributes.get("href")
        assert link is None or link.startswith(("#", "index.html", "data:,")) or link.endswith(".json"), link
    shown = re.sub("[\x00-\x1f]", lambda m: f"[U+{ord(m[0]):04X}]", name) if len(name) < 300 else name[:300]
    assert shown in "".join(page.parts)
    turning = re.compile("[\u202a-\u202e\u2066-\u2069]")
    assert not turning.search("".join(page.outside)), "our own words keep their direction"
    assert not [a for _, attributes in page.elements for a in attributes.values() if a and turning.search(a)]
    assert "\x00" not in "".join(page.parts)
    assert decode(page.scripts["facts"], ReportFacts).name == name


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_in_the_index(digits: ReportFacts, name: str) -> None:
    row = index_facts([digits]).rows[1]
    timed = IndexLatency(provider=name, batch=1, median=1.0, accepted=2.0, trend=(2.0, 3.0))
    hostile = msgspec.structs.replace(
        row, target=name, recipe=name, metric=name, accepted=name, trouble=name, latencies=(timed,), waived=(name,)
    )
    plain = [
        tag for tag, _ in read(render_index(IndexFacts(rows=(row,)))).elements if tag in ("script", "img", "style")
    ]
    page = read(render_index(IndexFacts(rows=(hostile,))))
    assert [tag for tag, _ in page.elements if tag in ("script", "img", "style")] == plain
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on") or key == "style"]
    assert len([tag for tag, attributes in page.elements if attributes.get("class") == "spark"]) == 3
    assert decode(page.scripts["facts"], IndexFacts).rows == (hostile,)


def test_index_links_cannot_run(digits: ReportFacts) -> None:
    page = read(render_index(index_facts([replaced(digits, name="javascript:alert(1)//")])))
    links = [a["href"] for tag, a in page.elements if tag == "a" and a.get("href")]
    assert links
    assert all(str(link).startswith(("./", "#", "index.json")) for link in links)


def test_policy_allows_our_style_and_script_only(digits: ReportFacts) -> None:
    html = render_recipe(digits)
    policy = next(
        str(a["content"]) for tag, a in read(html).elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search("<style>(.*?)</style>", html, re.S)
    script = re.search("<script>(.*?)</script>", html, re.S)
    assert style
    assert script
    hashes = [base64.b64encode(hashlib.sha256(m[1].encode()).digest()).decode() for m in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_nothing_is_loaded(digits: ReportFacts) -> None:
    for html in (render_recipe(digits), render_index(index_facts([digits]))):
        assert not re.search(r"https?://|@import|url\(|src=", html.split("<script type=")[0])


def test_only_the_marked_block_is_volatile(digits: ReportFacts) -> None:
    later = replaced(digits, volatile=RunFacts(drawn="2027-01-01T00:00:00Z", seconds=99.0))
    never = replaced(digits, volatile=None)
    pages = {without_volatile(render_recipe(facts)) for facts in (digits, later, never)}
    assert len(pages) == 1
    assert render_recipe(later) != render_recipe(digits)


def test_identical_facts_give_identical_bytes_in_any_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from onnxbuild.base.codec import decode; "
        "from onnxbuild.report.facts import ReportFacts; from onnxbuild.report.render import render_recipe; "
        "sys.stdout.buffer.write(render_recipe(decode(Path(sys.argv[1]).read_bytes(), ReportFacts)).encode())"
    )
    facts = Path(__file__).with_name("facts_digits.json")
    pages = {
        subprocess.run(
            [sys.executable, "-c", code, str(facts)], cwd=tmp_path, check=True, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(pages) == 1


def test_json_inside_is_the_twin(digits: ReportFacts) -> None:
    scripts = read(render_recipe(digits)).scripts
    inside = json.loads(scripts["facts"])
    inside["volatile"] = json.loads(scripts["facts-volatile"])
    assert decode(json.dumps(inside), ReportFacts) == digits
    assert decode(encode(digits), ReportFacts) == digits


def test_long_tables_are_capped_and_say_so(digits: ReportFacts) -> None:
    name = "encoder.layers.{}.attention.self.query.weight with <a long name> that goes on and on and on"
    gate = GateResult(
        gate="tolerance.logits.atol", provider="cpu", limit="1", measured=2.0, margin=1.0, verdict=Verdict.PASSED
    )
    gates = tuple(msgspec.structs.replace(gate, gate=f"tolerance.{name.format(i)}.atol") for i in range(811))
    failed = msgspec.structs.replace(gate, gate="tolerance.the.worst", verdict=Verdict.FAILED)
    weights = tuple(
        InitializerFacts(name=name.format(i), dtype="float32", shape=(9, 9), bytes=324, zeros=0) for i in range(50)
    )
    target = digits.targets[0]
    step = target.steps[0]
    assert step.export is not None
    model = msgspec.structs.replace(
        step.export.model, weights=weights, weight_tensors=812, operators={name.format(i): i for i in range(812)}
    )
    step = msgspec.structs.replace(step, export=msgspec.structs.replace(step.export, model=model))
    actions = tuple(
        msgspec.structs.replace(digits.actions[0], name=f"digits-cnn/{i}", warnings=(Remark("odd", name.format(i)),))
        for i in range(812)
    )
    targets = tuple(
        msgspec.structs.replace(target, name=f"digits:{i}", variant=f"v{i}", gates=(*gates, failed), steps=(step,) * 8)
        for i in range(30)
    )
    html = render_recipe(replaced(digits, targets=targets, actions=actions))
    text = visible_text(html)
    assert len(html.encode()) < 1_000_000 * 1.02
    assert "showing 50 of 812" in text
    assert re.search("Showing (8|6|4|3|2|1) of 30 variants in detail", text)
    assert dead_links(html) == []
    assert text.count("the.worst") >= 1, "the worst gates are the ones shown"
    assert json.loads(read(html).scripts["facts"])["complete"] is False
    assert "holds a summary" in text


def test_what_variants_share_is_drawn_once(digits: ReportFacts) -> None:
    boxes = tuple(NodeFacts(name=f"n{i}", op="Relu", reads=(i - 1,) if i else (), change="new") for i in range(4))
    picture = PictureFacts(whole=False, parts=(PartFacts(boxes, 7),), nodes=300, shown=28, changed=28)
    step = next(s for s in digits.targets[0].steps if s.export is not None)
    assert step.export is not None
    model = msgspec.structs.replace(step.export.model, picture=picture)
    step = msgspec.structs.replace(step, export=msgspec.structs.replace(step.export, model=model))
    targets = tuple(msgspec.structs.replace(t, steps=(step,)) for t in digits.targets[:3])
    html = render_recipe(replaced(digits, targets=targets))
    text = visible_text(html)
    assert html.count('<svg class="graph"') == 1
    assert text.count(f"What {step.label} changed is drawn under {targets[0].variant}, which shares it.") == 2
    assert dead_links(html) == []


def test_a_large_page_gives_up_its_json_before_a_variant(digits: ReportFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render_recipe(digits)
    monkeypatch.setattr("onnxbuild.report.render.PAGE_LIMIT", len(whole) - 1)
    html = render_recipe(digits)
    assert json.loads(read(html).scripts["facts"])["complete"] is False
    assert "in detail, to keep this page small" not in visible_text(html)
    monkeypatch.setattr("onnxbuild.report.render.PAGE_LIMIT", len(html) - 1)
    html = render_recipe(digits)
    assert f"Showing 4 of {len(digits.targets)} variants in detail" in visible_text(html)
    assert dead_links(html) == []


def dead_links(html: str) -> list[str]:
    """Return the links into the page that lead nowhere."""
    elements = read(html).elements
    ids = [a["id"] for _, a in elements if a.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for _, a in elements if a.get("href")]
    return [link for link in links if link and link.startswith("#") and link[1:] not in ids]


def test_empty_parts_say_why(single: ReportFacts) -> None:
    text = visible_text(render_recipe(single))
    assert "is not built." in text
    assert "No model was made: there is nothing to show yet." in text
    assert "No stage warned of anything." in text
    assert "No run was recorded." in text


def test_several_providers_and_outputs_without_limits(digits: ReportFacts) -> None:
    target = digits.targets[1]
    step = target.steps[0]
    label = OutputMeasures(name="label", dtype="int64", elements=540, unequal=2)
    broken = OutputMeasures(
        name="score", dtype="float32", elements=9, unequal=9, max_abs="nan", cosine="nan", nan_mismatches=1
    )
    facts = ValidateFacts(calls=1, samples=540, outputs=(label, broken))
    step = msgspec.structs.replace(step, accuracy=(*step.accuracy, ProviderAccuracy("openvino", facts)))
    text = visible_text(render_recipe(replaced(digits, targets=(msgspec.structs.replace(target, steps=(step,)),))))
    assert "On openvino" in text
    assert "No limit is set for these outputs" in text
    assert "2 of 540" in text
    assert "NaN | –" in text


def test_a_recipe_without_targets_is_a_page() -> None:
    assert "no target" in visible_text(render_recipe(ReportFacts(name="empty", file="recipes/empty.yaml")))
    assert "No recipe has a target yet." in visible_text(render_index(index_facts([])))


def test_pages_are_accessible_in_structure(digits: ReportFacts) -> None:
    elements = read(render_recipe(digits)).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("main") == tags.count("h1") == tags.count("nav") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no heading level is skipped"
    for tag, attributes in elements:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label"), attributes
        if tag == "th":
            assert attributes.get("scope") in ("row", "col", "rowgroup")
    assert tags.count("caption") == tags.count("table")
    assert dead_links(render_recipe(digits)) == []
