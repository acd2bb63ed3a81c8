"""The actions that have providers compile the delivered model ahead, and which model is theirs then."""

from __future__ import annotations

from collections.abc import Mapping

from onnxbuild.plan.action import Ref
from onnxbuild.plan.drafts import Drafts
from onnxbuild.plan.target_action import target_action
from onnxbuild.recipe.providers import COMPILING
from onnxbuild.recipe.types import Target
from onnxbuild.stages.compile import CompileParams


def add_compiled(drafts: Drafts, target: Target, inputs: dict[str, Ref]) -> dict[str, str]:
    """Have each provider that compiles models ahead do it, where the package is to hold what it compiled."""
    if "compiled" not in target.package.formats:
        return {}
    return {
        provider.name: drafts.add(
            target,
            f"compile@{provider.name}",
            target_action(
                target,
                "compile",
                CompileParams(
                    provider=provider.name, options=provider.options, session=target.session, axes=target.dynamic_axes
                ),
                inputs,
            ),
        )
        for provider in target.providers
        if provider.name in COMPILING
    }


def compiled_or(model: Ref, compiled: Mapping[str, str], provider: str) -> Ref:
    """Return the model that is delivered for a provider: what it compiled, else the one for all."""
    return Ref(compiled[provider], "compiled") if provider in compiled else model
