"""What `make` leaves for CI and chat: a summary, a JUnit file, annotations; knows not how a make goes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from onnxbuild.base.annotations import prefix_of
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.console import Console
from onnxbuild.report.account import Account


class Accounts:
    """Writes what one call of `make` was asked to write, also when the recipes are wrong and nothing was made."""

    def __init__(self, root: Path, arguments: argparse.Namespace, console: Console) -> None:
        self._root, self._console = root, console
        self._github, self._strict = arguments.format == "github", arguments.strict
        folder = Path(arguments.directory)
        self._files = {
            option: folder / name
            for option, name in (("summary", arguments.summary), ("junit", arguments.junit))
            if name is not None
        }
        for option, file in self._files.items():
            if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
                raise UserError(Diagnostic(code="output", message=f"--{option} {file} cannot be written"))

    @staticmethod
    def are_wanted(arguments: argparse.Namespace) -> bool:
        """Tell whether the call asks for any account, which takes the facts of all targets that it selects."""
        return arguments.format == "github" or arguments.summary is not None or arguments.junit is not None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the printing of a make apart from annotations, and give an account of recipes that are wrong."""
        self._annotations: list[Diagnostic] = []
        try:
            with self._console.without_commands() if self._github else nullcontext():
                yield
        except UserError as error:
            self._write(Account(root=self._root, reports=self._root, problems=error.diagnostics))
            self._annotations += error.diagnostics
            raise
        finally:
            if self._github:
                self._console.annotate(self._annotations, prefix_of(self._root))

    def give(self, gather: Callable[[], Account]) -> None:
        """Write what was asked for; nothing is gathered when nothing was."""
        if not self._github and not self._files:
            return
        account = gather()
        self._write(account)
        if self._github:
            from onnxbuild.report.annotate import annotate

            self._annotations += annotate(account, strict=self._strict)

    def _write(self, account: Account) -> None:
        from onnxbuild.report.junit import junit  # brings xml, which a make that writes none does without
        from onnxbuild.report.markdown import markdown

        for option, file in self._files.items():
            data = junit(account) if option == "junit" else markdown(account, file.parent).encode()
            try:
                file.write_bytes(data)
            except OSError as error:
                message = f"--{option} {file} cannot be written: {error.strerror}"
                raise UserError(Diagnostic(code="output", message=message)) from None
