"""What CI and chat read of a make and of a check: summary, JUnit, annotations, SARIF, and the templates."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from onnxbuild import cli
from onnxbuild.base.annotations import prefix_of, workflow_command
from onnxbuild.base.diagnostics import Diagnostic, Place, Severity
from onnxbuild.commands.continuous import FILES
from tests.project import MLP, Project, write_mlp

ESSENTIALS = Path(__file__).with_name("sarif_essentials.json")
TARGETS = """\
passes:
  - onnxslim: default
variants:
  plain: {}
  strict:
    quantization: {mode: dynamic}
    tolerance: {outputs: {y: {max_abs: 1.0e-7}}}
    gates: {size: {at_most: 30% of plain}}
"""
RANDOM = MLP.replace("evaluation: {data: data/test.npz, metric: accuracy}\n", "")
BROKEN = MLP.replace("opset: 20", "opest: 20") + "tolerance: {metric: {at_least: 200% of source}}\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was made with an account: mlp:plain passed, mlp:strict failed two gates, open is unverified."""
    project = Project(tmp_path_factory.mktemp("ci") / "project")
    write_mlp(project)
    project.recipe("mlp", MLP + TARGETS)
    project.recipe("open", RANDOM)
    done = project.make("-k", "--summary", "s.md", "--junit", "j.xml", "--format", "github")
    assert done.code == 1, done.err
    (project.root / "told.txt").write_text(done.out)
    return project.root


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Project:
    shutil.copytree(template, tmp_path / "project")
    return Project(tmp_path / "project")


def cases(file: Path) -> dict[str, str]:
    """The test cases of a JUnit file with what became of them."""
    root = ElementTree.parse(file).getroot()  # ours
    for count, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        found = root.findall(f"testsuite/{tag}" if tag == "testcase" else f"testsuite/testcase/{tag}")
        assert int(root.get(count, "")) == len(found)
    return {
        f"{case.get('classname')} {case.get('name')}": case[0].tag if len(case) else "passed"
        for case in root.iterfind("testsuite/testcase")
    }


# The summary


def test_the_summary_begins_with_the_failed_gates(template: Path) -> None:
    text = (template / "s.md").read_text()
    assert text.startswith("## onnxbuild: 1 failed, 1 unverified, 1 passed\n\n### Failed gates\n")
    row = next(line for line in text.splitlines() if "y.max_abs" in line)
    assert row.startswith("| [<code>mlp:strict</code>](reports/mlp.html#gates) | <code>y.max_abs</code> | cpu |")
    strict, plain = (
        next(line for line in text.splitlines() if f"#variant-{name})" in line) for name in ("strict", "plain")
    )
    assert "❌ failed | accuracy " in strict
    assert re.search(r"\| \+\d+% \(plain\) \| 0 of 2 \|$", strict)
    assert "✅ passed" in plain
    assert "- <code>mlp/canonicalize</code> (" in text
    assert "): never built" in text
    assert text.index("Failed gates") < text.index("❌ failed") < text.index("### Not verified")


def test_a_make_with_nothing_to_do_gives_the_same_account(made: Project) -> None:
    def make() -> tuple[str, dict[str, str]]:
        done = made.make("--summary", "out/s.md", "--junit", "out/j.xml", "--format", "github")
        assert done.code == 1, done.err
        assert done.ran == []
        assert "::error file=recipes/mlp.yaml,line=14," in done.out
        return (made.root / "out/s.md").read_text(), cases(made.root / "out/j.xml")

    (made.root / "out").mkdir()
    make()
    summary, told = make()  # the second one has a stamp beside it
    assert list((made.root / ".onnxbuild/state/stamps").glob("make"))
    assert "](../reports/mlp.html#variant-strict)" in summary
    assert "Nothing had to run: " in summary
    assert told == {
        "mlp.plain tolerance.y.atol on cpu": "passed",
        "mlp.strict tolerance.y.max_abs on cpu": "failure",
        "mlp.strict size": "failure",
        "open.default tolerance.y.atol on cpu": "skipped",
    }


def test_an_edit_is_told_with_its_reason(made: Project) -> None:
    made.recipe("open", RANDOM + "pruning: {method: magnitude, sparsity: 0.5}\n")
    done = made.make("open", "--summary", "s.md", "--junit", "j.xml")
    assert done.code == 1, done.out
    text = (made.root / "s.md").read_text()
    assert "<code>open/prune</code> (" in text
    assert "mlp:" not in text, "what was not asked for is not told"
    assert cases(made.root / "j.xml")["open.actions open/prune"] == "passed"


# JUnit and annotations


def test_each_gate_and_each_action_that_ran_is_a_case(template: Path) -> None:
    told = cases(template / "j.xml")
    assert told["mlp.strict size"] == "failure"
    assert told["open.default tolerance.y.atol on cpu"] == "skipped"
    assert told["mlp.plain tolerance.y.atol on cpu"] == "passed"
    assert told["mlp.actions mlp/canonicalize"] == "passed"
    assert "open.actions mlp/canonicalize" not in told, "an action that recipes share is one case"
    failure = ElementTree.parse(template / "j.xml").find(".//testcase[@name='size']/failure")  # ours
    assert failure is not None
    assert "required at most 30% of plain" in failure.get("message", "")


def test_annotations_point_at_the_limit_that_was_missed(template: Path) -> None:
    lines = (template / "told.txt").read_text().splitlines()
    token = re.fullmatch(r"::stop-commands::([0-9a-f]{32})", lines[0])
    assert token is not None
    at = lines.index(f"::{token[1]}::")
    assert not [line for line in lines[1:at] if line.startswith("::")]
    recipe = (template / "recipes/mlp.yaml").read_text().splitlines()
    errors = [line for line in lines[at + 1 :] if line.startswith("::error ")]
    assert len(errors) == 2
    for line, key in zip(errors, ("max_abs: 1.0e-7", "size: {at_most: 30% of plain}"), strict=True):
        place = re.match(r"::error file=recipes/mlp\.yaml,line=(\d+),col=(\d+),title=onnxbuild gate-failed::", line)
        assert place is not None
        assert (
            recipe[int(place[1]) - 1][int(place[2]) - 1 :].startswith(key.partition(": ")[2][:3])
            or key in (recipe[int(place[1]) - 1])
        )
    assert "139.78%25, required at most 30%25 of plain" in errors[1]
    assert lines[-1].startswith("::warning file=recipes/open.yaml,line=2,")


def test_strict_makes_an_error_of_what_is_unverified(made: Project) -> None:
    done = made.make("open", "--strict", "--format", "github")
    assert done.code == 1
    assert "::error file=recipes/open.yaml,line=2," in done.out


def test_a_stage_that_fails_is_told_everywhere(made: Project) -> None:
    made.write("recipes/data/load.py", "def calls():\n    raise ValueError('no | <b>data</b> @octocat %0A')\n")
    recipe = RANDOM + "evaluation: {data: {loader: data/load.py:calls}}\n"
    line = recipe.splitlines().index("evaluation: {data: {loader: data/load.py:calls}}") + 1
    made.recipe("open", recipe)
    done = made.make("open", "--summary", "s.md", "--junit", "j.xml", "--format", "github")
    assert done.code == 1
    error = next(told for told in done.out.splitlines() if told.startswith("::error "))
    assert f"file=recipes/open.yaml,line={line},col=" in error
    assert "no | <b>data</b> @octocat %250A" in error
    told = cases(made.root / "j.xml")
    assert told["open.actions open/data"] == "failure"
    assert told["open.default verdict"] == "failure"
    text = (made.root / "s.md").read_text()
    assert "### Failed stages" in text
    assert "no &#124; &#60;b&#62;data&#60;/b&#62; @\u200boctocat %\u200b0A" in text


def test_what_differs_from_the_lock_is_told_everywhere(made: Project) -> None:
    assert made.run("accept", "mlp:plain").code == 0
    recipe = (made.root / "recipes/mlp.yaml").read_text()
    made.recipe("mlp", recipe.replace("opset: 20", "opset: 19"))
    done = made.make("mlp:plain", "--locked", "--summary", "s.md", "--junit", "j.xml", "--format", "github")
    assert done.code == 1
    assert "title=onnxbuild lock-differs::mlp:plain: " in done.out
    assert cases(made.root / "j.xml")["mlp.plain lock"] == "failure"
    assert "### Other than accepted\n\n- <code>mlp:plain</code>: " in (made.root / "s.md").read_text()


def test_a_wrong_recipe_is_told_in_each_form(made: Project) -> None:
    for file in ("s.md", "j.xml"):
        (made.root / file).unlink()
    made.recipe("mlp", BROKEN)
    done = made.make("--summary", "s.md", "--junit", "j.xml", "--format", "github")
    assert done.code == 2
    assert "::error file=recipes/mlp.yaml,line=6,col=1,title=onnxbuild unknown-key::" in done.out
    assert "nothing was made, " in (made.root / "s.md").read_text()
    assert "recipes recipes/mlp.yaml:6:1 unknown-key" in cases(made.root / "j.xml")


def test_a_file_that_cannot_be_written_is_a_wrong_call(made: Project) -> None:
    done = made.make("--summary", "gone/s.md")
    assert done.code == 2
    assert "--summary gone/s.md cannot be written" in done.err


def test_workflow_commands_cannot_be_broken_out_of() -> None:
    place = Place("a,b:c%\n::x", 3, 4)
    text = workflow_command(Diagnostic(code="x", message="a\r\n::set-output name=a::b%0A\x1b[2J\u202e", place=place))
    assert text == (
        "::error file=a%2Cb%3Ac%25%0A%3A%3Ax,line=3,col=4,title=onnxbuild x::a%0D%0A::set-output name=a::b%250A�[2J�"
    )
    assert workflow_command(Diagnostic(code="y", message="m", severity=Severity.WARNING)) == (
        "::warning title=onnxbuild y::m"
    )


def test_files_are_named_from_the_repository_s_root(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert prefix_of(tmp_path / "models", str(tmp_path)) == "models"
    told = workflow_command(Diagnostic(code="x", message="m", place=Place("recipes/a.yaml", 1, 2)), "models")
    assert "file=models/recipes/a.yaml," in told


# check


def sarif(project: Project) -> Any:
    done = project.run("check", "--format", "sarif")
    assert done.code == 2
    log = json.loads(done.out)
    jsonschema.validate(log, json.loads(ESSENTIALS.read_text()))
    return log


def test_sarif_is_valid_and_points_at_the_lines(project: Project) -> None:
    project.recipe("mlp", BROKEN)
    run = sarif(project)["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    found = {result["ruleId"]: result for result in run["results"]}
    assert {"unknown-key", "missing-path"} <= found.keys()
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    where = found["unknown-key"]["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"] == "recipes/mlp.yaml"
    assert where["region"] == {"startLine": 6, "startColumn": 1, "snippet": {"text": "opest: 20"}}
    assert "did you mean 'opset'?" in found["unknown-key"]["message"]["text"]


def test_sarif_schema_refuses_what_is_wrong(project: Project) -> None:
    project.recipe("mlp", BROKEN)
    log = sarif(project)
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, json.loads(ESSENTIALS.read_text()))


def test_check_as_annotations(project: Project) -> None:
    project.recipe("mlp", BROKEN)
    done = project.run("check", "--format", "github")
    assert done.code == 2
    assert done.err == ""
    assert all(line.startswith(("::error ", "::warning ")) for line in done.out.splitlines())
    assert "file=recipes/mlp.yaml,line=6,col=1,title=onnxbuild unknown-key::" in done.out


# Templates


def commands(node: Any) -> list[str]:
    """Every shell line in a template."""
    if isinstance(node, dict):
        return [line for key, value in node.items() for line in (
            [value] if key in ("run", "entry") else value if key in ("script", "after_script") else commands(value)
        )]  # fmt: skip
    return [line for item in node for line in commands(item)] if isinstance(node, list) else []


@pytest.mark.parametrize("system", FILES)
def test_a_template_is_yaml_and_its_commands_exist(project: Project, system: str) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP)
    project.recipe("wine", "format: 1\nsource: {framework: sklearn, path: a.skops}\ninputs: {}\noutputs: [y]\n")
    project.write("onnxbuild.yaml", "reports: proof\n")
    assert project.run("init", "--ci", system).code == 0
    text = (project.root / FILES[system]).read_text()
    assert re.search("@[A-Z]+@", text) is None
    lines = commands(yaml.safe_load(text))
    ours = [shlex.split(line) for line in lines if line.startswith("onnxbuild ")]
    assert ours
    for words in ours:
        assert cli._parser(words[1:]).parse_args(words[1:]).verb == words[1]
    assert [line for line in lines if not line.startswith(("onnxbuild ", "python -m pip install 'onnxbuild"))] == []
    if system != "pre-commit":
        assert "proof/" in text
        assert "junit.xml" in text
        assert any(words[1] == "make" for words in ours)
    assert project.run("init", "--ci", system).code == 2, "nothing is overwritten"
    assert (project.root / FILES[system]).read_text() == text


def test_a_template_installs_the_frameworks_of_the_recipes(project: Project) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP)
    project.write("recipes/net.py", "def build():\n    pass\n")
    torch = "format: 1\nsource: {framework: torch, factory: net.py:build}\ninputs: {x: {dtype: float32, shape: [2]}}\n"
    project.recipe("net", torch + "outputs: [y]\n")
    assert project.run("init", "--ci", "github").code == 0
    assert "'onnxbuild[torch]==" in (project.root / FILES["github"]).read_text()


def test_the_github_workflow_keeps_the_store_and_shows_what_came_of_it(project: Project) -> None:
    project.run("init", "--ci", "github")
    workflow = yaml.safe_load((project.root / FILES["github"]).read_text())
    steps = workflow["jobs"]["models"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    by_use = {step["uses"].partition("@")[0]: step for step in steps if "uses" in step}
    restored = by_use["actions/cache/restore"]["with"]
    assert restored["path"] == ".onnxbuild"
    assert restored["key"].startswith(restored["restore-keys"])
    assert workflow["permissions"] == {"contents": "read"}
    assert any('--summary "$GITHUB_STEP_SUMMARY"' in step.get("run", "") for step in steps)
