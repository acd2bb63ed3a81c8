"""All stages by name, registered by hand."""

from __future__ import annotations

from onnxbuild.stages.stage import AnyStage

STAGES: dict[str, AnyStage] = {}
