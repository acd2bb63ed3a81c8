"""Entries of `providers` against the table: each provider once, options that it has, a share that can be; runs none."""

from __future__ import annotations

from onnxbuild.base.codec import Json
from onnxbuild.base.diagnostics import did_you_mean
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.node import find, plain
from onnxbuild.recipe.providers import TABLE, OptionKind, ProviderEntry
from onnxbuild.recipe.types import Target


def check_providers(draft: Draft, target: Target) -> None:
    """Note what the table knows to be wrong about the target's providers."""
    seen = set()
    for (written, _), provider in zip((draft.raw.providers or {}).items(), target.providers, strict=False):
        if provider.name in seen:
            message = f"the provider {provider.name} is written twice"
            draft.error("duplicate-name", message, draft.key("providers", written), "providers")
        seen.add(provider.name)
        if provider.min_nodes is not None and provider.min_nodes.of is not None and provider.min_nodes.value > 1:
            place = draft.value("providers", written, "min_nodes")
            draft.error("wrong-value", "`min_nodes` is a share of the nodes, at most 100%", place, "providers")
        _check_options(draft, written, TABLE[provider.name])


def _check_options(draft: Draft, written: str, entry: ProviderEntry) -> None:
    options = find(draft.node, ("providers", written, "options"))
    for option, item in options.entries.items() if options is not None else ():
        if option.startswith(_COMPILING):
            message = f"'{option}' has {entry.name} keep what it compiles in files of its own"
            place = draft.key("providers", written, "options", option)
            hint = _COMPILED if entry.compiles else "leave it out"
            draft.error("unknown-option", message, place, "providers", note=_NO_COMPILED, hint=hint)
            continue
        if entry.options is None:
            continue
        kind = entry.options.get(option)
        if kind is None:
            known = f"known options: {', '.join(entry.options)}" if entry.options else "it takes none"
            message, place = (
                f"{entry.name} has no option '{option}'",
                draft.key("providers", written, "options", option),
            )
            hint = _INSTEAD.get((entry.name, option)) or did_you_mean(option, list(entry.options)) or known
            draft.error("unknown-option", message, place, "providers", hint=hint)
        elif not _fits(plain(item.node), kind):
            message = f"the option '{option}' of {entry.name} must be {_describe(kind)}"
            place = draft.value("providers", written, "options", option)
            draft.error("wrong-value", message, place, "providers")


_COMPILING = (
    "ep.",
    "trt_dump_ep_context",
    "trt_ep_context",
    "trt_engine_cache",
    "trt_timing_cache",
    "nv_runtime_cache",
    "enable_htp_prepare_only",
)
"""How options begin that have a provider write or read compiled models; `ep.` is the session's own configuration."""
_NO_COMPILED = "a compiled model serves one device and driver, so it is an artifact of the build's own"

_COMPILED = "package: {formats: [onnx, compiled], portable: false} has the model compiled and delivered"

_INSTEAD = {
    ("openvino", option): f"load_config: {{CPU: {{{key}}}}}; the plug-in ignores '{option}'"
    for option, key in {
        "precision": "INFERENCE_PRECISION_HINT: f32",
        "INFERENCE_PRECISION_HINT": "INFERENCE_PRECISION_HINT: f32",
        "num_of_threads": "INFERENCE_NUM_THREADS: 1",
        "INFERENCE_NUM_THREADS": "INFERENCE_NUM_THREADS: 1",
        "num_streams": "NUM_STREAMS: 1",
        "model_priority": "MODEL_PRIORITY: LOW",
    }.items()
}
"""What stands for an option of old that the tool accepts and does not heed."""


def _fits(value: Json, kind: OptionKind) -> bool:
    if isinstance(kind, tuple):
        return str(value) in kind
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool) or value in (0, 1, "0", "1", "true", "false", "True", "False")
        case "json":
            return isinstance(value, dict | str)
    return isinstance(value, str | int | float)


def _describe(kind: OptionKind) -> str:
    if isinstance(kind, tuple):
        return f"one of {', '.join(kind)}"
    return {"integer": "an integer", "boolean": "true or false", "json": "a mapping"}.get(kind, "a text")
