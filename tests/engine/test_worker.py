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

from onnxbuild.base.codec import decode
from onnxbuild.engine import worker
from onnxbuild.engine.child import Order
from onnxbuild.engine.job import RESULT, JobResult

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
    worker.read_order = lambda file: Order(
        SimpleNamespace(user_code=file.name != "ours", closes=file.name == "closes"),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
    )
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


def serve_one_that_waits(gate: str) -> None:
    """Be a worker whose job named `waits` runs until the test opens `gate`; all others are read from their files."""
    read, run = worker.read_order, worker.run_job
    waiting = Order(SimpleNamespace(user_code=True), None)  # type: ignore[arg-type]
    worker.read_order = lambda file: waiting if file.name == "waits" else read(file)
    worker.run_job = lambda order, owners: int(Path(gate).read_text()) if order is waiting else run(order, owners)
    worker.main([], owners=False)


@pytest.mark.skipif(sys.platform != "linux", reason="workers fork")
@pytest.mark.parametrize("content", [b"{", b'{"stage": "none"}', None], ids=["torn", "another's", "gone"])
def test_a_job_that_cannot_be_read_fails_alone(tmp_path: Path, content: bytes | None) -> None:
    gate, torn = tmp_path / "gate", tmp_path / "job.json"
    os.mkfifo(gate)
    if content is not None:
        torn.write_bytes(content)
    program = f"from tests.engine.test_worker import serve_one_that_waits; serve_one_that_waits({str(gate)!r})"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"waits\n{torn}\n")
        told = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [(one["job"], one.get("exit")) for one in told] == [("waits", None), (str(torn), None), (str(torn), 0)]
        gate.write_text("42")
        assert json.loads(process.stdout.readline()) == {"job": "waits", "exit": 42}
        process.stdin.close()
    failure = decode(torn.with_name(RESULT).read_bytes(), JobResult).failure
    assert failure is not None
    assert failure.message.startswith("unexpected error: ")
