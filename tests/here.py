"""Which providers this machine has, asked in processes of their own, and tests that load one in a child of their own.

After QNN's library a process can load no TensorFlow any more: it crashes in the first regular expression.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import traceback
from collections.abc import Callable
from typing import ParamSpec

import pytest

from onnxbuild.commands.probing import probe_all
from onnxbuild.ort.facts import simulator_of
from onnxbuild.ort.probe import Probe

P = ParamSpec("P")


@functools.cache
def probe(provider: str) -> Probe:
    """Return what became of loading a provider."""
    (found,) = probe_all([provider])
    return found


def needs(provider: str) -> pytest.MarkDecorator:
    """Skip where there is no such provider, with the reason."""
    found = probe(provider)
    return pytest.mark.skipif(not found.present, reason=f"no {provider} here: {found.why}")


def simulates(provider: str) -> bool:
    """Tell whether a simulator stands for the provider's device."""
    return probe(provider).present and simulator_of(probe(provider).devices) is not None


def apart(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test in a forked child: what it loads is gone afterwards."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            told = ""
            try:
                test(*arguments, **named)
            except BaseException:
                told = traceback.format_exc()
            theirs.send(told)
            os._exit(0)
        theirs.close()
        try:
            told = ours.recv()
        except EOFError:
            told = "the test's process ended without a word"
        os.waitpid(child, 0)
        if told:
            pytest.fail(told, pytrace=False)

    return run
