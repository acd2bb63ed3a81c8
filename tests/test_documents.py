"""What the documents say is so: commands, recipe, layers, files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from onnxbuild.base.diagnostics import Severity
from onnxbuild.commands.table import VERBS
from onnxbuild.engine.events import Event
from onnxbuild.recipe.load import load_recipes
from onnxbuild.recipe.project import load_project
from onnxbuild.recipe.raw import RawProject, RawRecipe
from onnxbuild.recipe.schema import schema_of

ROOT = Path(__file__).parents[1]
REFUSED = {"remote", "trusted_keys"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_two_commands_head_the_readme() -> None:
    block = re.search(r"```\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_every_command_is_in_the_readme() -> None:
    table = README.split("## Commands")[1]
    assert [verb for verb in VERBS if f"onnxbuild {verb}" not in table and f"`{verb}`" not in table] == []


def test_every_event_that_is_written_is_in_the_readme() -> None:
    told = README.split("`--events FILE` writes")[1].split("\n\n")[0]
    tags = [kind.__struct_config__.tag for kind in get_args(Event) if kind.__struct_config__.tag is not None]
    assert [tag for tag in tags if f"`{tag}`" not in told] == []
    assert len(tags) > 8


def test_the_readmes_recipe_is_well_formed(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/net.yaml").write_text(block[1], encoding="utf-8")
    loaded = load_recipes(load_project(tmp_path), files=False)
    assert [d for d in loaded.diagnostics if d.severity is Severity.ERROR] == []
    assert loaded.selected == ("net:fp32", "net:int8")


def test_every_key_of_the_format_is_in_the_readme_s_recipe_of_all_and_that_is_well_formed(tmp_path: Path) -> None:
    section = README.split("## Every key")[1]
    recipe, settings = (block[1] for block in re.finditer(r"```yaml\n(.*?)```", section, re.DOTALL))
    for text, kind in ((recipe, RawRecipe), (settings, RawProject)):
        schema = schema_of(kind)
        parts = [schema, *schema["$defs"].values()] if kind is RawRecipe else [schema]
        keys = {key for part in parts for key in part.get("properties", {})} - REFUSED
        assert sorted(key for key in keys if not re.search(rf"\b{key}\b", text)) == []
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/digits.yaml").write_text(recipe, encoding="utf-8")
    (tmp_path / "onnxbuild.yaml").write_text(settings, encoding="utf-8")
    loaded = load_recipes(load_project(tmp_path), files=False)
    assert [(d.message, str(d.place)) for d in loaded.diagnostics if d.severity is Severity.ERROR] == []
    assert loaded.selected == ("digits:fp32", "digits:int8")


def test_every_package_is_in_the_design() -> None:
    layers = (ROOT / "DESIGN.md").read_text(encoding="utf-8").split("## Layers")[1].split("\n## ")[0]
    packages = [p.name for p in (ROOT / "onnxbuild").iterdir() if (p / "__init__.py").exists()]
    assert [name for name in packages if f"`{name}/`" not in layers] == []


def test_the_gate_runs_the_readmes_test_command() -> None:
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)


def test_each_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r'    "[A-Za-z0-9-]+[><=]', line)]
    assert [line for line in lines if "# " not in line] == []
    assert len(lines) > 20
