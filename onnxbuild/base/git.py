"""git as a reader asks it: bounded in time and bytes, without locks or prompts; knows nothing of what it reads."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path

from onnxbuild.base.units import format_size

SECONDS = 60
MOST = 100_000_000
"""What a call may take, and print in bytes."""
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_SETTINGS = ("log.showSignature=false", "log.showRoot=true", "log.follow=false")
"""What a user's own settings would add to a log, or leave out of it."""
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
"""What is not there is not fetched; git before 2.45 knows the first alone."""


class GitError(Exception):
    """git is not there, took too long or printed too much, or it `ran` and refused; `said` is what it said then."""

    def __init__(self, message: str, said: str = "", *, ran: bool = False) -> None:
        super().__init__(message)
        self.said, self.ran = said, ran


def git(
    folder: Path,
    *arguments: str,
    stdin: bytes = b"",
    seconds: float = SECONDS,
    most: int = MOST,
    offline: bool = False,
) -> bytes:
    """Return what git prints in a folder, of at most so many bytes; raises GitError.

    `offline`: a partial clone fetches nothing for it.
    """
    environment = {**os.environ, **_QUIET, **(_OFFLINE if offline else {})}
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    call = ["git", "--no-pager", *settings, "-C", str(folder), *arguments]
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                call, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
            )
        except OSError as error:
            raise GitError(f"git cannot be run: {error}") from None
    with process:
        try:
            printed, said = _hear(process, arguments[0], time.monotonic() + seconds, most)
        except GitError:
            process.kill()
            raise
    if process.returncode != 0:
        text = said.decode("utf-8", "replace").strip()
        raise GitError(text or f"git {arguments[0]} failed", text, ran=True)
    return printed


def _hear(process: subprocess.Popen[bytes], verb: str, until: float, most: int) -> tuple[bytes, bytes]:
    """Return what a process writes to its output and to its error output, until it closes both."""
    assert process.stdout is not None
    assert process.stderr is not None
    heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for descriptor in heard:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = until - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise GitError(f"git {verb} took too long")
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fd)
                heard[key.fd] += piece
            if sum(map(len, heard.values())) > most:
                raise GitError(f"git {verb} printed more than {format_size(most)}")
    printed, said = heard.values()
    return bytes(printed), bytes(said)
