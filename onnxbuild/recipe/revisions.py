"""Recipes and locks as git has them at a revision, and as they are now; checks nothing out and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from onnxbuild.base.diagnostics import Diagnostic, Severity, UserError
from onnxbuild.base.git import GitError, git
from onnxbuild.recipe.changes import LockChanges, compare_recipes
from onnxbuild.recipe.lock import ENDING, Lock, lock_path, parse_lock
from onnxbuild.recipe.problems import Problems

WORKING_TREE = "the working tree"


@dataclass(frozen=True)
class Accepted:
    """What was accepted at one time: the locks by their paths, and the texts of the recipes that they are beside."""

    locks: dict[str, Lock]
    recipes: dict[str, str]


def split_range(text: str) -> tuple[str, str, bool]:
    """Return both ends of "A..B" ("" where one is left out; alone, A has an open end) and whether it is "A...B"."""
    old, dots, new = text.partition("..")
    return old, new.removeprefix("."), bool(dots) and new.startswith(".")


def compare_revisions(root: Path, pattern: str, text: str) -> LockChanges:
    """Compare the locks at both ends of a range of revisions such as "main.."; an open end is the working tree.

    `pattern` is the project's glob of recipes. Raises UserError for what git does not know and for broken locks.
    """
    old, new, is_symmetric = split_range(text)
    base = _git(root, "merge-base", _commit(root, old), _commit(root, new)) if is_symmetric else _commit(root, old)
    before = _at(root, base.strip(), pattern)
    now = _at(root, _commit(root, new), pattern) if new else _here(root, pattern)
    names = (old or "HEAD") + ("…" if is_symmetric else ""), new or WORKING_TREE
    return LockChanges(
        old=names[0],
        new=names[1],
        recipes=compare_recipes(before.locks, now.locks, before.recipes, now.recipes),
    )


def read_lock_file(file: Path) -> Lock:
    """Return the lock that is this file; raises UserError."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Diagnostic(code="missing-path", message=f"{file} cannot be read: {error}")) from None
    return _parse(text, file.name)


def _here(root: Path, pattern: str) -> Accepted:
    texts, locks = {}, {}
    for recipe in sorted(file for file in root.glob(pattern) if file.is_file()):
        name = recipe.relative_to(root).as_posix()
        texts[name] = recipe.read_text("utf-8", "replace")
        if (lock := root / lock_path(name)).is_file():
            locks[lock_path(name)] = _parse(lock.read_text("utf-8", "replace"), lock_path(name))
    return Accepted(locks, texts)


def _at(root: Path, commit: str, pattern: str) -> Accepted:
    files = _git(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", ".").split("\0")
    recipes = [name for name in files if fnmatchcase(name, pattern.replace("**/", "*")) and not name.endswith(ENDING)]
    texts = {name: _git(root, "cat-file", "blob", f"{commit}:./{name}") for name in recipes}
    beside = {lock_path(name) for name in recipes}.intersection(files)
    locks = {
        name: _parse(_git(root, "cat-file", "blob", f"{commit}:./{name}"), f"{name} at {commit[:12]}")
        for name in sorted(beside)
    }
    return Accepted(locks, texts)


def _parse(text: str, name: str) -> Lock:
    problems = Problems()
    lock = parse_lock(text, name, problems)
    errors = [d for d in problems.diagnostics if d.severity is Severity.ERROR]
    if errors:
        raise UserError(errors)
    return lock


def _commit(root: Path, revision: str) -> str:
    name = revision or "HEAD"
    try:
        found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except GitError as error:
        if not error.ran:
            raise UserError(Diagnostic(code="no-git", message=str(error))) from None
        message = error.said or f"git knows no revision '{name}' here"
        hint = "name commits of this repository, as in `onnxbuild diff HEAD~1..`"
        if "not a git repository" in error.said:
            hint = "without git, compare two lock files: `onnxbuild diff OLD.lock.json NEW.lock.json`"
        raise UserError(Diagnostic(code="unknown-revision", message=message, hint=hint)) from None
    return found.decode("utf-8", "replace").strip()


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; raises UserError with what it says."""
    try:
        return git(root, *arguments).decode("utf-8", "replace")
    except GitError as error:
        raise UserError(Diagnostic(code="no-git", message=str(error))) from None
