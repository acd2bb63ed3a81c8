"""What each stage is made from inside onnxbuild, by digest; run as a program it renews the committed list.

    python -m tests.incremental.closures                      after versions were raised, or a stage is new
    python -m tests.incremental.closures --same data,prune    when what these stages deliver is the same as before
    python -m tests.incremental.closures --same all           the same for all stages that changed

From a stage's `run` follow the names that each function, class and constant uses, through imports, as far as
onnxbuild goes. What nothing follows, such as another stage's parameters beside those used, does not count; nor do
comments, docstrings or layout.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.engine.host import FIXED, OFFLINE
from onnxbuild.plan.manifest import SCHEME
from onnxbuild.stages.table import STAGES

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("closures.json")
ENVIRONMENT = "the workers' environment"
Record = dict[str, dict[str, object]]
Place = tuple[str, str]
"""A module's dotted name and a name at its top level."""


@dataclass
class _Module:
    """A module's top-level definitions, what its names were imported from, and its statements that just run."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Place | str] = field(default_factory=dict)
    statements: list[ast.stmt] = field(default_factory=list)


class Code:
    """The package's source, each file parsed once."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._modules: dict[str, _Module] = {}
        self._needed: dict[Place, tuple[Place, ...]] = {}
        self._dumped: dict[Place, str] = {}
        self._files: dict[str, Path | None] = {}

    def closure(self, module: str, names: list[str]) -> dict[str, str]:
        """Return a digest for each module that `names` of `module` need, over the parts that they need."""
        wanted: dict[Place, None] = {}
        stack: list[Place] = [(module, name) for name in names]
        while stack:
            place = stack.pop()
            if place not in wanted:
                wanted[place] = None
                if place not in self._needed:
                    self._needed[place] = tuple(dict.fromkeys(self._needs(*place)))
                stack.extend(self._needed[place])
        parts: dict[str, list[str]] = {}
        for owner, name in sorted(wanted):
            if (owner, name) not in self._dumped:
                self._dumped[owner, name] = "\n".join(ast.dump(s) for s in self._statements(owner, name))
            if self._dumped[owner, name]:
                parts.setdefault(owner, []).append(self._dumped[owner, name])
        return {m: hashlib.sha256("\n".join(p).encode()).hexdigest()[:16] for m, p in sorted(parts.items())}

    def _statements(self, module: str, name: str) -> list[ast.stmt]:
        parsed = self._module(module)
        return parsed.statements if name == "" else parsed.definitions.get(name, [])

    def _needs(self, module: str, name: str) -> Iterator[Place]:
        parsed = self._module(module)
        if name:
            yield module, ""  # what the module does when it is imported
        here = dict(parsed.imports)
        for statement in self._statements(module, name):
            for node in ast.walk(statement):
                here.update(self._imported(node))
            for node in ast.walk(statement):
                yield from self._named(node, module, parsed, here)
        if name in parsed.imports:
            yield from self._target(parsed.imports[name], None)

    def _named(self, node: ast.AST, module: str, parsed: _Module, here: dict[str, Place | str]) -> Iterator[Place]:
        if isinstance(node, ast.Attribute):
            whole = self._module_named(node.value, here)
            if whole is not None:
                yield from self._target(whole, node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in parsed.definitions:
                yield module, node.id
            elif node.id in here:
                yield from self._target(here[node.id], None)

    def _module_named(self, node: ast.expr, here: dict[str, Place | str]) -> str | None:
        """Return the module that an expression such as `passes` or `passes.onnxslim` stands for."""
        if isinstance(node, ast.Name):
            found = here.get(node.id)
            if isinstance(found, str):
                return found
            if found is not None and self._file(".".join(found)) is not None:
                return ".".join(found)
            return None
        if isinstance(node, ast.Attribute):
            above = self._module_named(node.value, here)
            if above is None:
                return None
            if self._file(f"{above}.{node.attr}") is not None:
                return f"{above}.{node.attr}"
            found = self._module(above).imports.get(node.attr)
            return found if isinstance(found, str) else ".".join(found) if found else None
        return None

    def _target(self, found: Place | str, attribute: str | None) -> Iterator[Place]:
        if isinstance(found, str):
            if attribute is not None and self._file(found) is not None:
                yield found, attribute
            return
        if self._file(".".join(found)) is None:
            yield found

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            self._modules[name] = parsed = _Module()
            file = self._file(name)
            body = ast.parse(file.read_bytes()).body if file is not None else []
            for statement in body:
                self._sort(_bare(statement), parsed)
        return self._modules[name]

    def _sort(self, statement: ast.stmt, parsed: _Module) -> None:
        imported = dict(self._imported(statement))
        match statement:
            case ast.Import() | ast.ImportFrom():
                parsed.imports.update(imported)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                parsed.definitions.setdefault(name, []).append(statement)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                    for node in ast.walk(target):
                        if isinstance(node, ast.Name):
                            parsed.definitions.setdefault(node.id, []).append(statement)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.Expr(value=ast.Constant()):
                pass
            case _:
                parsed.statements.append(statement)

    def _imported(self, node: ast.AST) -> Iterator[tuple[str, Place | str]]:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "onnxbuild":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield alias.asname or alias.name, whole if self._file(whole) else (node.module or "", alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname is not None and alias.name.startswith("onnxbuild."):
                    yield alias.asname, alias.name

    def _file(self, module: str) -> Path | None:
        if module not in self._files:
            path = self._root.joinpath(*module.split("."))
            found = (f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file())
            self._files[module] = next(found, None)
        return self._files[module]


def _bare(statement: ast.stmt) -> ast.stmt:
    """Take the docstrings out of a statement."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return statement


def closures(code: Code | None = None) -> Record:
    """Return version and digests by module for each stage, and for what all stages share."""
    code = code or Code()
    found: Record = {}
    for name, stage in sorted(STAGES.items()):
        found[name] = {"version": stage.version, "modules": code.closure(stage.run.__module__, ["run"])}
    settings = json.dumps([FIXED, OFFLINE], sort_keys=True).encode()
    digest = hashlib.sha256(settings).hexdigest()[:16]
    found[ENVIRONMENT] = {"version": int(SCHEME), "modules": {"onnxbuild.engine.host": digest}}
    return found


def changed_without_a_version(recorded: Record, now: Record) -> dict[str, list[str]]:
    """Return the stages whose code differs although their version is the recorded one, with the modules that do."""
    stale = {}
    for name, what in now.items():
        known = recorded.get(name)
        if known is not None and known["version"] == what["version"] and known["modules"] != what["modules"]:
            old, new = known["modules"], what["modules"]
            assert isinstance(old, dict)
            assert isinstance(new, dict)
            stale[name] = sorted(m for m in {*old, *new} if old.get(m) != new.get(m))
    return stale


def advice(stale: dict[str, list[str]]) -> str:
    """Say what is to be decided and how."""
    names = "all" if ENVIRONMENT in stale else ",".join(stale)
    lines = [f"  {name}: {', '.join(modules)}" for name, modules in stale.items()]
    return "\n".join(
        [
            "The code of these stages changed, their versions did not:",
            *lines,
            "Can they now deliver other bytes or measure other values for the same inputs?",
            "  yes: raise `version` in onnxbuild/stages/<stage>.py (environment: SCHEME in plan/manifest.py), then",
            "       python -m tests.incremental.closures",
            f"  no:  python -m tests.incremental.closures --same {names}",
        ]
    )


def read_record() -> Record:
    """Return the committed list."""
    record: Record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return record


def main(arguments: list[str]) -> int:
    """Renew the list, unless a stage's code changed without a decision about its version."""
    same = set(arguments[1].split(",")) if arguments[:1] == ["--same"] and len(arguments) == 2 else set()
    now = closures()
    stale = {n: m for n, m in changed_without_a_version(read_record(), now).items() if not same & {n, "all"}}
    if stale:
        print(advice(stale))
        return 1
    RECORD.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
