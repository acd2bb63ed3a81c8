"""Puts a packaged target under `build/`: its files and a manifest with names and gates, whole or not at all."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from onnxbuild.base.atomic import default_mode, replace_folder, write_atomically
from onnxbuild.base.codec import to_builtins
from onnxbuild.engine.inputs import Inputs
from onnxbuild.plan.action import TargetPlan
from onnxbuild.stages.compile import CompileFacts
from onnxbuild.stages.package import PackageFacts
from onnxbuild.stages.place import PlaceFacts
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.blobs import BlobStore
from onnxbuild.store.traces import Discovered, Trace
from onnxbuild.targets.judge import Judgement

FORMAT = 1
MANIFEST = "manifest.json"
MACHINE_STAGES = ("optimize", "package")
"""Stages that may make a model for the machine they run on; their keys then hold its hardware class."""
SOURCE_STAGES = ("export", "canonicalize")


def describe_delivery(
    plan: TargetPlan, judgement: Judgement, package: Trace, traces: Mapping[str, Trace]
) -> dict[str, Any]:
    """Return the content of a target's manifest.json; `traces` are those of the actions that made it, by name.

    It says nothing of when or where it was built: equal results give equal bytes.
    """
    target = plan.target
    facts = msgspec.json.decode(package.facts, type=PackageFacts)
    artifact = delivered_artifact(plan, package, traces)
    metric = [gate for gate in judgement.gates if gate.gate == "tolerance.metric"]
    return {
        "format": FORMAT,
        "name": target.name,
        "recipe": target.recipe,
        "variant": target.variant,
        "description": target.description,
        "verdict": judgement.verdict.value,
        "model": "model.onnx",
        "files": {name: {"sha256": blob.digest, "bytes": blob.size} for name, blob in artifact.files.items()},
        "inputs": [to_builtins(value) for value in facts.model.inputs],
        "outputs": [to_builtins(value) for value in facts.model.outputs],
        "dynamic_axes": to_builtins(target.dynamic_axes),
        "opset": facts.model.opsets,
        "ir_version": facts.model.ir_version,
        "session": {k: v for k, v in to_builtins(facts.session).items() if v is not None},
        "providers": [provider.name for provider in target.providers],
        "provider_options": {provider.name: provider.options for provider in target.providers if provider.options},
        "placement": {provider: _placement(traces.get(action)) for provider, action in plan.placements.items()},
        "gates": [to_builtins(gate) for gate in judgement.gates],
        "metric": {"model": metric[0].measured, "source": metric[0].source} if metric else None,
        "metadata": target.package.metadata,
        "tied_to": tied_to(traces.values()),
        **({"compiled": _compiled(plan, traces)} if plan.compiled else {}),
        "versions": _versions(traces.values()),
        "source": {
            "framework": target.source.framework.value,
            "files": _source_files(traces.values()),
        },
    }


def compiled_file(provider: str) -> str:
    """Return the name under which the model that a provider compiled is delivered."""
    return f"model.{provider}.onnx"


def delivered_artifact(plan: TargetPlan, package: Trace, traces: Mapping[str, Trace]) -> Artifact:
    """Return all of a target's files but its manifest: the package, and what providers compiled of it."""
    files = dict(package.outputs["package"].files)
    for provider, trace, facts in _compile_traces(plan, traces):
        if facts.absent is None:
            files[compiled_file(provider)] = trace.outputs["compiled"].files["model.onnx"]
    return Artifact(dict(sorted(files.items())))


def _compile_traces(plan: TargetPlan, traces: Mapping[str, Trace]) -> Iterator[tuple[str, Trace, CompileFacts]]:
    for provider, action in plan.compiled.items():
        if (trace := traces.get(action)) is not None:
            yield provider, trace, msgspec.json.decode(trace.facts, type=CompileFacts)


def _compiled(plan: TargetPlan, traces: Mapping[str, Trace]) -> dict[str, Any]:
    """Return for each provider that compiles models ahead its file and for what it was made, or why there is none."""
    found: dict[str, Any] = {}
    for provider, trace, facts in _compile_traces(plan, traces):
        if facts.absent is not None:
            found[provider] = {"file": None, "why": facts.absent}
            continue
        found[provider] = {
            "file": compiled_file(provider),
            "device": "; ".join(dict.fromkeys(d.title for d in facts.devices)),
            "sdk": ", ".join(facts.sdk) or None,
            "tied_to": next((line.value for line in trace.manifest if line.label == "hardware"), None),
        }
    return found


def misdelivery(folder: Path, manifest: dict[str, Any], inputs: Inputs) -> str | None:
    """Return why `folder` is not just what the manifest says and that very manifest; None where it is."""
    try:
        present = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return "it is not delivered"
    if present == _encode(manifest):
        return None if _has_files(folder, manifest, inputs) else "the delivered files were altered"
    if _has_files(folder, manifest, inputs):
        return "its manifest tells other inputs, limits or results"
    return "something else is delivered"


def is_delivery(folder: Path) -> bool:
    """Tell whether a folder is what was delivered there: no link to it, and no copy under another name."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict) or not {"format", "recipe", "variant", "verdict"} <= set(content):
        return False
    named = (content["recipe"], content["variant"]) == (folder.parent.name, folder.name)
    return named and not folder.is_symlink()


@contextmanager
def delivering(state: Path) -> Iterator[None]:
    """Hold the project's lock on its outputs: makes at the same time deliver one after the other."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "delivery.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def deliver(folder: Path, manifest: dict[str, Any], artifact: Artifact, blobs: BlobStore, inputs: Inputs) -> None:
    """Make `folder` hold the artifact and its manifest; what was there before stays until the new one is complete.

    Raises CorruptBlobError, with the blob set aside; then `folder` is as it was.
    """
    if _has_files(folder, manifest, inputs):
        write_atomically(folder / MANIFEST, _encode(manifest))
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.new."))
    try:
        blobs.lay_out(artifact, new, writable=True)
        write_atomically(new / MANIFEST, _encode(manifest))
        new.chmod(default_mode(0o777))
        replace_folder(new, folder)
        for name, blob in artifact.files.items():
            inputs.remember(folder / name, blob.digest)  # lay_out has verified what it wrote, where only we look
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _has_files(folder: Path, manifest: dict[str, Any], inputs: Inputs) -> bool:
    wanted = manifest["files"]
    if not folder.is_dir() or {p.name for p in folder.iterdir()} - {MANIFEST} != set(wanted):
        return False
    return all(inputs.digest(str(folder / name)) == file["sha256"] for name, file in wanted.items())


def _encode(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"


def tied_to(traces: Iterable[Trace]) -> str | None:
    """Return the hardware class of the machine that a model was optimised for, None where it serves every one."""
    makers = (trace for trace in traces if trace.stage in MACHINE_STAGES)
    return next((line.value for trace in makers for line in trace.manifest if line.label == "hardware"), None)


def _placement(trace: Trace | None) -> dict[str, Any]:
    """Return whether a provider was there, and how many of how many nodes it got."""
    facts = msgspec.json.decode(trace.facts, type=PlaceFacts) if trace is not None else None
    if facts is None or facts.assignment is None:
        return {"present": False, "nodes": None, "of": None}
    return {"present": True, "nodes": facts.assignment.got(facts.asked), "of": facts.assignment.nodes}


def _versions(traces: Iterable[Trace]) -> dict[str, str]:
    """Return what the stages use, and what the model's own code imported, such as XGBoost."""
    versions: dict[str, str] = {}
    for trace in traces:
        versions |= _labelled(trace, "package ")
        if trace.stage in SOURCE_STAGES:
            versions |= {found.name.replace("_", "-"): found.digest for found in _found(trace, "package")}
    return dict(sorted(versions.items()))


def _source_files(traces: Iterable[Trace]) -> dict[str, str]:
    """Return the digests of the model's files: the recipe's by their key in it, those its code read by their path."""
    files: dict[str, str] = {}
    for trace in traces:
        if trace.stage in SOURCE_STAGES:
            files |= _labelled(trace, "file ") | {found.name: found.digest for found in _found(trace, "file")}
    return files


def _labelled(trace: Trace, prefix: str) -> dict[str, str]:
    return {line.label.removeprefix(prefix): line.value for line in trace.manifest if line.label.startswith(prefix)}


def _found(trace: Trace, kind: str) -> list[Discovered]:
    return [found for found in trace.discovered if found.kind == kind]
