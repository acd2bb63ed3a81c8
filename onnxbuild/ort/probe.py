"""A process of its own that loads one execution provider and runs a trivial model on it: `python -m ... NAME`.

A provider's library may crash, hang or print; who asks reads one line of JSON and outlives it.
"""

from __future__ import annotations

import os
import sys

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.ort.facts import Device


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a provider loads and computes here: its devices as far as it lists them, or why it is absent."""

    provider: str
    present: bool
    devices: tuple[Device, ...] = ()
    why: str | None = None


def main(provider: str) -> None:
    """Write the probe of one provider to standard output, and all that libraries print to standard error."""
    answer = os.dup(1)
    os.dup2(2, 1)
    from onnxbuild.ort.providers import Absent, present

    found = present(provider)
    probe = (
        Probe(provider=provider, present=False, why=found.why)
        if isinstance(found, Absent)
        else Probe(provider=provider, present=True, devices=found)
    )
    os.write(answer, encode(probe) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
