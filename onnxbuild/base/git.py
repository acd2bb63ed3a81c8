"""git as a reader asks it: bounded in time, without locks or prompts; knows nothing of what it reads."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SECONDS = 60
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_SETTINGS = ("log.showSignature=false", "log.showRoot=true", "log.follow=false")
"""What a user's own settings would add to a log, or leave out of it."""
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
"""What is not there is not fetched; git before 2.45 knows the first alone."""


class GitError(Exception):
    """git is not there or took too long, or it `ran` and refused; `said` is what it said then."""

    def __init__(self, message: str, said: str = "", *, ran: bool = False) -> None:
        super().__init__(message)
        self.said, self.ran = said, ran


def git(folder: Path, *arguments: str, stdin: bytes = b"", seconds: float = SECONDS, offline: bool = False) -> bytes:
    """Return what git prints in a folder; raises GitError. `offline`: a partial clone fetches nothing for it."""
    environment = {**os.environ, **_QUIET, **(_OFFLINE if offline else {})}
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    call = ["git", "--no-pager", *settings, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(call, input=stdin, capture_output=True, timeout=seconds, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git cannot be run: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise GitError(said or f"git {arguments[0]} failed", said, ran=True)
    return done.stdout
