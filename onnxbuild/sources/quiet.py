"""What a converter prints, logs and warns, turned into warnings of the stage, each once; knows no converter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence

# Notes from one library's developers to another's; a user of either can do nothing about them.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)
_LONGEST = 300


class _Collector(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record.getMessage())


@contextlib.contextmanager
def quiet(
    tool: str, loggers: Sequence[str], warn: Callable[[str, str], None], drop: Sequence[str] = ()
) -> Iterator[None]:
    """Collect the tool's warnings, log records and what it prints inside the block.

    Warnings and records of level WARNING and above of `loggers` go to `warn` under the code `converter`, first
    line only, each once, also when the block raises; texts that contain one of `drop` are left out, and so is
    what is printed, which is progress.
    """
    seen: dict[str, None] = {}

    def note(text: str) -> None:
        line = next((part.strip() for part in text.splitlines() if part.strip()), "")[:_LONGEST]
        if line and not any(word in text for word in drop):
            seen.setdefault(line)

    collector = _Collector(note)
    with contextlib.ExitStack() as stack:
        for name in _families(loggers):
            stack.enter_context(_handled_by(logging.getLogger(name), collector))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                if not issubclass(warning.category, _FOR_DEVELOPERS):
                    note(str(warning.message))
            for line in seen:
                warn("converter", f"{tool}: {line}")


def _families(roots: Sequence[str]) -> list[str]:
    """Return the loggers `roots` and those below them that have handlers of their own."""
    known = logging.root.manager.loggerDict
    own = [name for name, logger in known.items() if isinstance(logger, logging.Logger) and logger.handlers]
    return [*roots, *(name for name in own if name not in roots and name.partition(".")[0] in roots)]


@contextlib.contextmanager
def _handled_by(logger: logging.Logger, collector: logging.Handler) -> Iterator[None]:
    handlers, propagate = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [collector], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
