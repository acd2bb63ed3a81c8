"""What a worker learns from its children, and when; the jobs are the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onnxbuild.engine import worker

NEW = "email.mime.audio"
"""A module of a package that a worker has; nothing else imports it."""


def serve(told: str) -> None:
    """Be a worker whose imports are written to the file `told`, and whose jobs say by their exit what they found."""
    import email  # noqa: F401
    import importlib

    plain = importlib.import_module

    def heard(name: str) -> Any:
        with Path(told).open("a") as file:
            file.write(f"{name}\n")
        return plain(name)

    def run_job(order: Any, _: object) -> int:
        found = NEW in sys.modules
        if order.job.closes:
            os.closerange(3, 64)
            while os.open(f"{told}.mine", os.O_WRONLY | os.O_CREAT) < 63:
                pass
        plain(NEW)
        return 10 + found

    importlib.import_module = heard  # type: ignore[assignment]
    worker.OURS = frozenset({"onnxbuild", *({"email"} if told.endswith("closes") else ())})  # type: ignore[misc]
    worker.read_order = lambda file: SimpleNamespace(
        job=SimpleNamespace(user_code=file.name != "ours", closes=file.name == "closes")
    )  # type: ignore[assignment,return-value]
    worker.run_job = run_job  # type: ignore[assignment]
    worker.main([], owners=False)


@pytest.mark.skipif(sys.platform != "linux", reason="workers fork")
@pytest.mark.parametrize(("first", "learns"), [("ours", True), ("user", False), ("closes", False)])
def test_a_worker_learns_when_it_gets_a_job_and_not_of_user_code(tmp_path: Path, first: str, learns: bool) -> None:
    told = tmp_path / f"told-{first}"
    code = f"from tests.engine.test_worker import serve; serve({str(told)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def run(job: str) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{job}\n")
        process.stdin.flush()
        assert "pid" in json.loads(process.stdout.readline())
        return int(json.loads(process.stdout.readline())["exit"])

    assert run(first) == 10
    assert run("ours") == 10 + learns
    names = told.read_text().split() if told.exists() else []
    process.stdin.close()
    assert process.wait() == 0
    assert not told.with_name("told-closes.mine").exists() or not told.with_name("told-closes.mine").read_bytes()
    process.stdout.close()
    assert (NEW in names) == learns
    assert (told.read_text().split() if told.exists() else []) == names, "it learnt while it had no job"
