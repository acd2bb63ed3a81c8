"""The ordered, labelled lines that a key is made from; one walk makes both the key and its explanation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnxbuild.base.codec import encode, to_builtins
from onnxbuild.base.digest import digest_bytes
from onnxbuild.plan.action import Action
from onnxbuild.store.traces import Component

SCHEME = "2"
"""Rises when the meaning of a manifest changes."""


def make_manifest(
    action: Action,
    version: int,
    file_digests: Mapping[str, str],
    input_digests: Mapping[str, str],
    packages: Mapping[str, str],
    environment: Mapping[str, str | None],
    unkeyed: Sequence[str] = (),
    hardware: str | None = None,
    devices: str | None = None,
    cores: int | None = None,
) -> tuple[Component, ...]:
    """Return the manifest of `action`.

    `file_digests` are by file label, `input_digests` by input label, `packages` distribution to version,
    `environment` the declared variables (None: unset), `unkeyed` parameters that are in no key, `hardware` the
    hardware class, `devices` the devices besides the CPU and `cores` how many cores may be used, each where results
    depend on it. Parameters are walked in declared order; one of a type without a canonical form raises TypeError.
    """
    lines = [Component("scheme", SCHEME), Component("stage", action.stage), Component("version", str(version))]
    parameters = to_builtins(action.params)
    lines += _walk("parameter", {name: value for name, value in parameters.items() if name not in unkeyed})
    lines += [Component(f"file {label}", file_digests[label], action.files[label]) for label in sorted(action.files)]
    lines += [
        Component(f"input {label}", input_digests[label], action.inputs[label].action)
        for label in sorted(action.inputs)
    ]
    lines += [Component(f"package {name}", packages[name]) for name in sorted(packages)]
    if hardware is not None:
        lines.append(Component("hardware", hardware))
    if cores is not None:
        lines.append(Component("cores", str(cores)))
    if devices is not None:
        lines.append(Component("devices", devices))
    if action.reads:
        lines.append(Component("reads", _text(action.reads)))
    lines += [Component(f"environment {name}", _text(environment[name])) for name in sorted(environment)]
    return tuple(lines)


def key_of(manifest: Sequence[Component]) -> str:
    """Return the key: the SHA-256 of all labels and values, notes left out."""
    return digest_bytes(encode([(line.label, line.value) for line in manifest]))


def _walk(label: str, value: Any) -> Iterator[Component]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _walk(f"{label} {name}" if label == "parameter" else f"{label}.{name}", item)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _walk(f"{label}.{number}", item)
    else:
        yield Component(label, _text(value))


def _text(value: Any) -> str:
    return encode(value).decode()
