"""How fast the store verifies and takes in blobs, next to SHA-256 alone and an fsynced copy by `dd`.

    python -m benchmarks.store_throughput [--megabytes 256] [--rounds 15] [--folder DIR]

Every round measures each way once, on one file system, from an idle disk and in another order; medians are compared.
So a busy machine or disk weighs on all alike.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onnxbuild.store.blobs import BlobStore


def seconds(work: Callable[[], object]) -> float:
    """Return what `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def both(work: Callable[[int], object]) -> Callable[[], object]:
    """Return a call of `work` with 0 and 1 in two threads at once."""

    def call() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, (0, 1)))

    return call


def measure(root: Path, size: int, rounds: int) -> dict[str, float]:
    """Return bytes a second of each way, medians over the rounds."""
    data = [os.urandom(size), os.urandom(size)]
    store = BlobStore(root / "store")
    sources = [root / "one", root / "two"]
    for source, content in zip(sources, data, strict=True):
        source.write_bytes(content)
    blobs = [store.add_file(source) for source in sources]
    times: dict[str, list[float]] = {}
    order = random.Random(0)
    for _ in range(rounds):
        made = root / "made"
        ways: dict[str, tuple[int, Callable[[], object]]] = {
            "sha256, two threads": (2, both(lambda n: hashlib.sha256(data[n]).digest())),
            "verify, two threads": (2, both(lambda n: store.verify(blobs[n]))),
            "sha256": (1, lambda: hashlib.sha256(data[0]).digest()),
            "dd, fsynced": (1, lambda: dd(sources[0], root / "copy")),
            "store by copying": (1, lambda: BlobStore(root / "other").add_file(sources[0])),
            "store by moving": (1, lambda made=made: BlobStore(root / "third").add_file(made, take=True)),
        }
        for name in order.sample([*ways], len(ways)):
            files, work = ways[name]
            os.sync()
            if name == "store by moving":
                shutil.copyfile(sources[0], made)  # as a stage leaves it: not yet on the disk
            times.setdefault(name, []).append(seconds(work) / files)
        for folder in ("other", "third"):
            shutil.rmtree(root / folder)
        (root / "copy").unlink()
    return {name: size / statistics.median(taken) for name, taken in times.items()}


def dd(source: Path, target: Path) -> None:
    """Copy a file with dd and have it on the disk."""
    subprocess.run(["dd", f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"], check=True)


def main() -> None:
    """Measure and print the figures next to their goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where to work, on the file system to measure")
    chosen = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=chosen.folder, prefix="store-"))
    try:
        speed = measure(root, chosen.megabytes << 20, chosen.rounds)
    finally:
        shutil.rmtree(root)
    for name, value in speed.items():
        print(f"{name:24} {value / 1e6:7.0f} MB/s")
    slower = min(speed["sha256"], speed["dd, fsynced"])
    print(f"verify  {speed['verify, two threads'] / speed['sha256, two threads']:5.0%} of SHA-256  (goal: 80 %)")
    for way in ("copying", "moving"):
        print(f"store by {way:8} {speed[f'store by {way}'] / slower:5.0%} of the slower  (goal: 80 %)")


if __name__ == "__main__":
    main()
