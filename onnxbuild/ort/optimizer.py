"""ONNX Runtime's own graph optimisation, written back to a model; knows nothing of who compares the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ort.session import LEVELS

TOOL = "onnxruntime"
WEIGHTS = "optimized.onnx.data"
EXTERNAL_FROM = 1024
"""Bytes from which a tensor goes to the external file."""


_LEVEL_1 = (
    *("EliminateIdentity", "EliminateSlice", "UnsqueezeElimination", "EliminateDropout", "ExpandElimination"),
    *("CastElimination", "PreShapeNodeElimination", "NoopElimination", "DivMulFusion", "FuseReluClip"),
    *("GemmSumFusion", "GemmTransposeFusion", "NotWhereFusion", "ConvAddFusion", "ConvMulFusion", "ConvBNFusion"),
    *("Pad_Fusion", "MatMul_BatchNormalization_Fusion", "ClipQuantRewrite", "ReluQuantRewrite", "LabelEncoderFusion"),
    *("DoubleQDQPairsRemover", "ConstantSharing", "CommonSubexpressionElimination", "ConstantFolding"),
    *("MatMulAddFusion", "ReshapeFusion", "GeluFusionL1", "LayerNormFusionL1", "QDQPropagationTransformer"),
    *("WeightBiasQuantization", "EnsureUniqueDQForNodeUnit", "WhereDummyDq", "ConcatSliceElimination"),
    *("BiasDropoutFusion", "MatMulScaleFusion", "GatherToSplitFusion", "GatherToSliceFusion"),
    *("GatherSliceToSplitFusion", "STFTDecomposition", "TransposeOptimizer"),
)
_LEVEL_2 = (
    *("QDQSelectorActionTransformer", "GemmActivationFusion", "MatMulActivationFusion", "MatMulIntegerToFloatFusion"),
    *("DynamicQuantizeMatMulFusion", "ConvActivationFusion", "ConvAddActivationFusion", "GeluFusionL2"),
    *("LayerNormFusionL2", "SimplifiedLayerNormFusion", "AttentionFusion", "EmbedLayerNormFusion"),
    *("BiasGeluFusion", "SkipLayerNormFusion", "BiasSkipLayerNormFusion", "FastGeluFusion"),
    *(
        "QuickGeluFusion",
        "BiasSoftmaxFusion",
        "MatmulTransposeFusion",
        "MatMulNBitsFusion",
        "QDQFinalCleanupTransformer",
    ),
)
_LEVEL_3 = ("NchwcTransformer", "NhwcTransformer")
PARTS = {"basic": _LEVEL_1, "extended": _LEVEL_1 + _LEVEL_2, "all": _LEVEL_1 + _LEVEL_2 + _LEVEL_3}
"""ONNX Runtime's optimisers by name, in its order; what is not listed cannot be left out one by one."""


def optimize(file: Path, level: str, scratch: Path, only: Sequence[str] | None = None) -> Path:
    """Write what ONNX Runtime makes of the model in `file` at `level` (basic, extended or all) and return its path.

    `only` names those of PARTS that run, None is all.

    The weights lie in a file beside it: without its own external file the result would go on pointing into the
    input's. It imports every domain that the runtime knows.
    """
    out = scratch / "optimized.onnx"
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = str(out)
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(EXTERNAL_FROM)
    )
    if only is not None:
        off = ";".join(part for part in PARTS[level] if part not in only)
        options.add_session_config_entry("optimization.disable_specified_optimizers", off)
    options.add_session_config_entry("session.disable_prepacking", "1")  # nothing runs here, and it costs memory
    with foreign_tool(TOOL, scratch):
        ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return out
