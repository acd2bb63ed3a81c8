"""A make that walks only the groups that differ tells, builds and draws just what one that walks everything does.

Each case is made in two copies of one project; in one of them nothing is kept.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.incremental.conftest import copied
from tests.incremental.projects import edit
from tests.project import ENVIRONMENT, MLP, Project, write_mlp

ROOT = Path(__file__).parents[2]
SETTINGS = "recipes: recipes/**/*.yaml\n"
STEPS = "passes: [onnxscript: optimize]\nquantization: {mode: dynamic}\n"
LOOSE = "tolerance: {outputs: {y: {mean_abs: 90}}}\n"
VARIANTS = """\
variants:
  small:
    quantization: {mode: dynamic}
    tolerance: {outputs: {y: {mean_abs: 90}}}
    gates: {size: {at_most: 200% of plain}}
  plain: {tolerance: {outputs: {y: {mean_abs: 90}}}}
"""
LOADED = """\
import json


def load():
    import numpy as np

    with open("seed.json") as file, np.load("data/test.npz") as arrays:
        return {"x": arrays["x"] + json.load(file), "labels": arrays["labels"]}
"""


def write(project: Project) -> None:
    """Six recipes: two with files of their own, two with common actions and one between them, one without data."""
    for seed, name in enumerate(("a", "e"), start=1):
        folder = project.root / "recipes" / name
        write_mlp(Project(folder / "tmp"), seed)
        for part in ("models", "data"):
            shutil.move(folder / "tmp/recipes" / part, folder / part)
        shutil.rmtree(folder / "tmp")
    write_mlp(project)
    project.write("onnxbuild.yaml", SETTINGS)
    project.recipe("a/a", MLP + STEPS + LOOSE)
    project.recipe("b", MLP + STEPS + LOOSE)  # shares with d, and c is between them
    project.recipe(
        "c", MLP.replace("data: data/test.npz", "data: {loader: load.py:load}").replace("20", "18") + VARIANTS
    )
    project.recipe("d", MLP + LOOSE)
    project.write("recipes/load.py", LOADED)
    project.write("recipes/seed.json", "0")
    project.recipe("e/e", MLP + "description: fine\n" + LOOSE)
    project.recipe("f", MLP.replace("evaluation: {data: data/test.npz, metric: accuracy}\n", "").replace("20", "19"))


@pytest.fixture(scope="session")
def built_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("many") / "project")
    write(project)
    done = project.make()
    assert done.code == 0, done.out + done.err
    return project.root


Edit = Callable[[Project], None]


def weights(project: Project, name: str = "recipes/a/models/mlp.onnx") -> None:
    model = onnx.load(project.root / name)
    changed = numpy_helper.to_array(model.graph.initializer[0]) * np.float32(1.5)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(changed, model.graph.initializer[0].name))
    onnx.save(model, project.root / name)


def fail_a_gate(project: Project) -> None:
    """Another recipe's gate fails, and is known to."""
    edit(project, "recipes/e/e.yaml", "opset: 20", "opset: 20\ngates: {size: {at_most: 1 KB}}")
    assert project.make().code == 1


def miss_a_tolerance(project: Project) -> None:
    """The same for a gate whose miss is looked into."""
    edit(project, "recipes/e/e.yaml", "mean_abs: 90", "mean_abs: 0, cosine: 1")
    edit(project, "recipes/e/e.yaml", "opset: 20", "opset: 20\nquantization: {mode: dynamic}")
    assert project.make().code == 1


def drop_blob(project: Project) -> None:
    """The blob of one model of e, which nothing else has."""
    content = json.loads(trace_of(project, "e/canonicalize").read_bytes().partition(b"\n")[2])
    digest = content["outputs"]["model"]["files"]["model.onnx"]["digest"]
    (project.root / f".onnxbuild/blobs/{digest[:2]}/{digest}").unlink()


def drop_trace(project: Project) -> None:
    trace_of(project, "e/reference").unlink()


def trace_of(project: Project, action: str) -> Path:
    last = json.loads((project.root / ".onnxbuild/state/last.json").read_bytes().partition(b"\n")[2])
    key, name = last[action]
    return project.root / f".onnxbuild/traces/{key[:2]}/{key}/{name}.json"


def rename(project: Project) -> None:
    (project.root / "recipes/f.yaml").rename(project.root / "recipes/g.yaml")


ALL = {"a", "b", "c", "d", "e", "f"}
CASES: dict[str, tuple[Edit, list[str], set[str]]] = {
    "nothing changed": (lambda p: None, ["-v"], ALL),
    "touched leaf": (lambda p: (p.root / "recipes/a/models/mlp.onnx").touch(), [], ALL - {"a"}),
    "leaf": (weights, ["-v"], ALL - {"a"}),
    "leaf of the last": (lambda p: weights(p, "recipes/e/models/mlp.onnx"), [], ALL - {"e"}),
    "recipe edited": (lambda p: edit(p, "recipes/f.yaml", "19", "17"), [], ALL - {"f"}),
    "limit edited": (lambda p: edit(p, "recipes/c.yaml", "200%", "150%"), [], ALL - {"c"}),
    "description edited": (lambda p: edit(p, "recipes/e/e.yaml", "fine", "better"), [], ALL - {"e"}),
    "shares now": (lambda p: edit(p, "recipes/f.yaml", "19", "20"), [], set()),
    "shares no more": (lambda p: edit(p, "recipes/d.yaml", "20", "21"), [], ALL - {"b", "d"}),
    "recipe broken": (lambda p: edit(p, "recipes/f.yaml", "opset: 19", "opset: many"), [], ALL - {"f"}),
    "recipe added": (lambda p: p.recipe("ff", MLP + LOOSE) and None, [], set()),
    "recipe removed": (lambda p: (p.root / "recipes/b.yaml").unlink(), [], set()),
    "recipe renamed": (rename, [], set()),
    "shared file of all but two": (lambda p: weights(p, "recipes/models/mlp.onnx"), [], {"a", "e"}),
    "discovered file": (lambda p: p.write("recipes/seed.json", "0.25") and None, [], ALL - {"c"}),
    "output of another deleted": (lambda p: (weights(p), shutil.rmtree(p.root / "build/e"))[0], [], ALL - {"a", "e"}),
    "page of another deleted": (
        lambda p: (weights(p), (p.root / "reports/e.html").unlink())[0], [], ALL - {"a", "e"},
    ),
    "index deleted": (lambda p: (p.root / "reports/index.html").unlink(), [], set()),
    "blob gone": (lambda p: (weights(p), drop_blob(p))[0], [], ALL - {"a", "e"}),
    "trace gone": (lambda p: (weights(p), drop_trace(p))[0], [], ALL - {"a", "e"}),
    "settings": (lambda p: p.write("onnxbuild.yaml", SETTINGS + "jobs: 1\n") and None, [], set()),
    "failed gate elsewhere": (lambda p: (fail_a_gate(p), weights(p))[0], [], ALL - {"a"}),
    "missed tolerance elsewhere": (lambda p: (miss_a_tolerance(p), weights(p))[0], ["-k"], ALL - {"a", "e"}),
    "failed gate elsewhere, kept going": (lambda p: (fail_a_gate(p), weights(p))[0], ["-k"], ALL - {"a"}),
    "another selection": (weights, ["a", "c:*"], set()),
    "strict": (weights, ["--strict"], set()),
    "failing action": (lambda p: p.write("recipes/seed.json", "no") and None, ["-k"], ALL - {"c"}),
    "onnxbuild's own code": (lambda p: None, ["own"], set()),
}  # fmt: skip
"""What is changed, with which arguments is made, and which recipes stand then."""


@pytest.mark.parametrize("case", CASES)
def test_partial_make_is_as_a_whole_one(built_many: Path, tmp_path: Path, case: str) -> None:
    change, arguments, stands = CASES[case]
    env = {"PYTHONPATH": str(ROOT)}
    if arguments == ["own"]:
        arguments, env = [], other_code(tmp_path)
    one = copied(built_many, tmp_path / "one/project")
    assert one.make().code == 0  # the copy has files of its own: from now on its stamp holds
    change(one)
    two = copied(one.root, tmp_path / "two/project")
    for folder in ("stamps", "kept"):
        shutil.rmtree(two.root / ".onnxbuild/state" / folder)
    assert standing(one, arguments, env) == stands
    assert standing(two, arguments, env) == set()
    arguments = ["-j1", *arguments]  # in which order two actions end is chance
    partly, whole = one.make(*arguments, env=env), two.make(*arguments, env=env)
    assert partly.code == whole.code
    assert volatile(partly.events) == volatile(whole.events)
    assert scrubbed(partly.out) == scrubbed(whole.out)
    assert scrubbed(partly.err) == scrubbed(whole.err)
    assert left(one) == left(two)
    assert scrubbed(one.make(*arguments, env=env).out) == scrubbed(two.make(*arguments, env=env).out)


def test_forced_and_dry_makes_walk_everything(built_many: Path, tmp_path: Path) -> None:
    project = copied(built_many, tmp_path / "project")
    assert project.make().code == 0
    weights(project)
    assert len(project.make("-n").actions()) == project.make("-n").event("plan")["actions"]
    done = project.make("--force", "-k")
    assert len(done.ran) == done.event("plan")["actions"]


OPEN = """\
import json, sys
from pathlib import Path
from onnxbuild import stamp
from onnxbuild.base.diagnostics import UserError
from onnxbuild.targets.kept import standing
from onnxbuild.workplace import open_changed
words = [word for word in sys.argv[1:] if not word.startswith("-")]
chosen = stamp.selection(words, strict="--strict" in sys.argv)
try:
    kept = open_changed(Path.cwd(), words, chosen).before
except UserError:
    from onnxbuild.recipe.project import load_project
    from onnxbuild.store.store import Store
    kept = standing(Path.cwd(), chosen, Store(Path(load_project(Path.cwd()).store)))
print(json.dumps([*kept.recipes] if kept else []))
"""


def standing(project: Project, arguments: list[str], env: dict[str, str]) -> set[str]:
    """Return the recipes that a make with these arguments would not walk."""
    command = [sys.executable, "-c", OPEN, *arguments]
    done = subprocess.run(
        command, cwd=project.root, env={**ENVIRONMENT, **env}, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def volatile(value: Any) -> Any:
    """Leave out what time and chance decide."""
    if isinstance(value, dict):
        left_out = ("seconds", "estimate", "path", "made", "started", "volatile")
        return {key: volatile(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, str):
        return scrubbed(value)
    return [volatile(item) for item in value] if isinstance(value, list) else value


def scrubbed(printed: str) -> str:
    same_place = re.sub("/(one|two)/project", "/project", printed)
    return re.sub(" +", " ", re.sub(r"[~(]?\b\d[\d.]* m?s\b", "T", same_place))


def left(project: Project) -> dict[str, object]:
    """All that a make leaves that counts: outputs, pages' facts, the index, and what stands for each action."""
    found: dict[str, object] = {}
    for file in sorted((project.root / "build").rglob("*")):
        if file.is_file():
            found[str(file.relative_to(project.root))] = file.read_bytes()
    for file in sorted((project.root / "reports").glob("*.json")):
        found[file.name] = volatile(json.loads(file.read_bytes()))
    found["pages"] = sorted(file.name for file in (project.root / "reports").glob("*.html"))
    found["index"] = (project.root / "reports/index.html").read_text()
    last = json.loads((project.root / ".onnxbuild/state/last.json").read_bytes().partition(b"\n")[2])
    return found | {"last": last}


def other_code(folder: Path) -> dict[str, str]:
    """Return an environment with a copy of onnxbuild whose files are others."""
    shutil.copytree(ROOT / "onnxbuild", folder / "code/onnxbuild", ignore=shutil.ignore_patterns("__pycache__"))
    return {"PYTHONPATH": str(folder / "code")}
