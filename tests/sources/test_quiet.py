"""What converters print, log and warn: each once, as warnings of the stage."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from onnxbuild.sources.quiet import quiet


def test_warnings_and_logs_are_collected_once_and_prints_are_not_shown(capsys):
    seen = []
    logger = logging.getLogger("noisytool.part")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    with quiet("noisy", ("noisytool",), lambda code, text: seen.append((code, text)), drop=("known",)):
        for _ in range(2):
            warnings.warn("the first\nmore of it", UserWarning, stacklevel=1)
        warnings.warn("for developers", FutureWarning, stacklevel=1)
        logger.warning("the %s", "second")
        logger.info("not this")
        logger.error("a known thing")
        print("progress")
    assert seen == [("converter", "noisy: the second"), ("converter", "noisy: the first")]
    assert capsys.readouterr() == ("", "")
    assert len(logger.handlers) == 1
    assert logger.propagate


def test_what_was_collected_is_told_when_the_block_raises():
    seen = []

    def fail():
        with quiet("noisy", (), lambda code, text: seen.append(text)):
            warnings.warn("before the end", UserWarning, stacklevel=1)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # that it passes through is the point
        fail()
    assert seen == ["noisy: before the end"]
