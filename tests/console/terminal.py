"""A command on a pseudo-terminal, and what its screen shows in the end; knows the few escapes that displays use."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.project import ENVIRONMENT, Project

_TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Terminal:
    """`onnxbuild` with standard output and error on a terminal of its own."""

    def __init__(self, project: Project, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        clean = {k: v for k, v in ENVIRONMENT.items() if k not in ("CI", "NO_COLOR")}
        wanted = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40", "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onnxbuild", *arguments],
            cwd=project.root,
            env={**clean, **wanted, **(env or {})},
            preexec_fn=lambda: os.login_tty(slave),
            close_fds=True,
            pass_fds=(slave,),
        )
        os.close(slave)
        self.text = ""

    def read(self, until: Callable[[str], bool] = lambda _: False, seconds: float = 60) -> str:
        """Return all that was written, once it is as wanted or the command has ended."""
        end = time.monotonic() + seconds
        while not until(self.text) and time.monotonic() < end:
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if ready:
                with contextlib.suppress(OSError):  # how Linux says that nobody writes any more
                    if data := os.read(self._master, 65536):
                        self.text += data.decode()
                        continue
                return self.text
        assert until(self.text), f"not within {seconds} s: {self.text[-2000:]}"
        return self.text

    def press(self, keys: bytes) -> None:
        """Type something; Ctrl-C is b"\\x03"."""
        os.write(self._master, keys)

    def close(self) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._master)


def screen(text: str) -> list[str]:
    """Return the lines that stand on the screen after `text` was written; AssertionError for a strange escape."""
    lines, row, column = [""], 0, 0
    for private, number, command, control, plain in _TOKEN.findall(text):
        if control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif control == "\r":
            column = 0
        elif plain:
            lines[row] = lines[row][:column].ljust(column) + plain + lines[row][column + len(plain) :]
            column += len(plain)
        elif command == "A":
            row -= int(number or 1)
            assert row >= 0, "moved above what it had written"
        elif command == "K":
            assert number == "2"
            lines[row] = ""
        else:
            assert command == "m" or (private and number == "25"), (private, number, command)
    return [line.rstrip() for line in lines]
