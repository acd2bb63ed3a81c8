"""Calling somebody else's tool: what it raises becomes a failure that names it, what it leaves stays in scratch.

Knows no particular tool.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from onnxbuild.base.diagnostics import StageFailure

_NODE = re.compile(
    r"""[Nn]ode\b[^'"\n]{0,60}?[Nn]ame:?\s*['"]([^'"\n]+)['"]  # node. Name:'a', node with name 'a'
    |   node\ name:\s*([^\s,)]+)                              # (op_type:MatMul, node name: a)
    """,
    re.VERBOSE,
)


@contextmanager
def foreign_tool(tool: str, scratch: Path) -> Iterator[None]:
    """Run the body as `tool`: temporary files go to `scratch`, what it prints goes
    to standard error, its log below errors nowhere.

    Any exception but StageFailure becomes StageFailure (`tool-failed`) with the tool's own reason, and the node
    where the reason names one.
    """
    before, disabled = tempfile.tempdir, logging.root.manager.disable
    tempfile.tempdir = str(scratch)
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except StageFailure:
        raise
    except Exception as error:
        reason = root_reason(error, scratch)
        raise StageFailure("tool-failed", f"{tool} fails: {reason}", tool=tool, node=failing_node(reason)) from error
    finally:
        tempfile.tempdir = before
        logging.disable(disabled)


def failing_node(text: str) -> str | None:
    """Return the node that a tool's error text names, or None."""
    match = _NODE.search(text)
    return (match[1] or match[2]) if match else None


def root_reason(error: BaseException, scratch: Path) -> str:
    """Return what an error comes down to, without the paths of `scratch`."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().replace(f"{scratch}/", "")
    name = type(error).__name__
    return f"{name}: {text}" if text else name
