"""The names that a Python file defines at its top level, read from its syntax; never imports it."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FunctionNames:
    """Names bound at the top level; `is_open` when others may be (a star import, a module `__getattr__`, `exec`)."""

    names: frozenset[str]
    is_open: bool

    def may_hold(self, name: str) -> bool:
        """Whether the module has, or may have, the name."""
        return self.is_open or name in self.names


@dataclass(frozen=True)
class PythonError:
    """Why a file is no Python: a sentence, the place if known, and the file's text."""

    message: str
    text: str = ""
    line: int | None = None
    column: int | None = None


def read_names(path: Path) -> FunctionNames | PythonError:
    """Return what the file binds at its top level, or why it cannot be parsed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return PythonError(error.strerror or "it cannot be read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code, such as invalid escapes: its own run shows them
            tree = ast.parse(data)
    except SyntaxError as error:
        return PythonError(error.msg, data.decode("utf-8", "replace"), error.lineno, error.offset)
    except (ValueError, RecursionError, MemoryError) as error:
        return PythonError(str(error) or "it is too deeply nested")
    names: set[str] = set()
    is_open = _bind(tree.body, names)
    return FunctionNames(frozenset(names), is_open)


def _bind(body: list[ast.stmt], names: set[str]) -> bool:
    """Add what the statements bind to `names`; return whether more may be bound than can be seen."""
    is_open = False
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
                is_open |= name == "__getattr__"
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                is_open |= any(alias.name == "*" for alias in aliases)
                names.update(alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case _:
                is_open |= _bind_other(statement, names)
    return is_open


def _bind_other(statement: ast.stmt, names: set[str]) -> bool:
    is_open = False
    for node in ast.iter_child_nodes(statement):
        for inner in ast.walk(node) if isinstance(node, ast.expr) else ():
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                names.add(inner.id)
            elif isinstance(inner, ast.Name) and inner.id in ("globals", "exec", "setattr"):
                is_open = True
    for block in ("body", "orelse", "finalbody"):
        is_open |= _bind(getattr(statement, block, []), names)
    for handler in getattr(statement, "handlers", []):
        is_open |= _bind(handler.body, names)
    for item in getattr(statement, "items", []):
        names.update(n.id for n in ast.walk(item) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    for case in getattr(statement, "cases", []):
        is_open |= _bind(case.body, names)
    return is_open
