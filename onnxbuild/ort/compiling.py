"""A model as a provider compiles it ahead, in a file of its own (EP context); reads neither model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.facts import Device
from onnxbuild.ort.placement import general_reason, read_reasons
from onnxbuild.ort.providers import VERBOSE, Absent, absent_or_refusing, add_plugin, devices_of, heard
from onnxbuild.ort.session import LEVELS, session_options
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Session

NOTHING = "Unable to compile any nodes"
MOST_REASONS = 3


def compile_on(
    model: Path, out: Path, provider: str, options: Mapping[str, str], session: Session
) -> tuple[Device, ...] | Absent:
    """Write what the provider of this short name compiles of the model file to `out`; return its devices here.

    The provider sees the graph as it does in a session, after the simplification that serves every machine; what it
    leaves is optimised when the file is opened. Raises StageFailure: `provider-refuses` when it is there and refuses
    the model or an option, `nothing-compiled` when it takes no node, about which ONNX Runtime itself says nothing.
    """
    entry = TABLE[provider]
    assert entry.plugin is not None, "providers that compile are plug-ins"
    own = session_options(session)
    own.log_severity_level = VERBOSE
    level = "disable" if session.graph_optimization == "disable" else "basic"
    error: Exception | None = None
    with heard() as log:
        absent = add_plugin(own, entry, entry.plugin, options)
        if absent is not None:
            return absent
        try:
            compiler = ort.ModelCompiler(
                own,
                str(model),
                embed_compiled_data_into_model=True,
                flags=ort.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED,
                graph_optimization_level=LEVELS[level],
            )
            compiler.compile_to_file(str(out))
        except Exception as raised:  # ONNX Runtime raises a dozen unrelated types
            error = raised
    if error is not None and NOTHING not in str(error):
        return absent_or_refusing(entry, options, error)
    if error is not None:
        raise nothing_compiled(entry.full_name, log.text)
    return devices_of(entry)


def nothing_compiled(provider: str, log: str = "") -> StageFailure:
    """Return the failure of a provider that is there and took no node, with what the log says of the reasons."""
    general, nodes = general_reason(log), read_reasons(log)
    said = [general] if general is not None else [f"{reason} ('{node}')" for node, reason in nodes.items()]
    more = f", and {len(said) - MOST_REASONS} more" if len(said) > MOST_REASONS else ""
    why = f": {'; '.join(said[:MOST_REASONS])}{more}" if said else ", and nothing was said why"
    message = f"{provider} is there and compiled no node of the model{why}"
    return StageFailure("nothing-compiled", message, tool=provider)
