"""Names and limits of the tools that recipes speak of, as tables; a test compares each with the installed tool."""

from __future__ import annotations

from onnxbuild.recipe.providers import TABLE

FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})

HIGHER_IS_BETTER = {
    "accuracy": True, "top_k": True, "f1": True, "precision": True, "recall": True, "roc_auc": True,
    "mae": False, "rmse": False, "r2": True, "cosine": True,
}  # fmt: skip
METRIC_RANGE: dict[str, tuple[float | None, float | None]] = {
    "accuracy": (0, 1), "top_k": (0, 1), "f1": (0, 1), "precision": (0, 1), "recall": (0, 1), "roc_auc": (0, 1),
    "mae": (0, None), "rmse": (0, None), "r2": (None, 1), "cosine": (-1, 1),
}  # fmt: skip

PROVIDERS = {entry.name: entry.full_name for entry in TABLE.values()}
"""Short name to ONNX Runtime's name."""

OPSETS = (7, 26)
"""What ONNX Runtime 1.31 loads: the oldest opset it promises, and the newest."""
IR_VERSIONS = (3, 13)
"""What ONNX Runtime 1.31 loads."""

ONNXOPTIMIZER_PASSES = (
    "adjust_add", "adjust_slice_and_matmul", "eliminate_common_subexpression", "eliminate_consecutive_idempotent_ops",
    "eliminate_deadend", "eliminate_duplicate_initializer", "eliminate_identity", "eliminate_if_with_const_cond",
    "eliminate_nop_cast", "eliminate_nop_concat", "eliminate_nop_dropout", "eliminate_nop_expand",
    "eliminate_nop_flatten", "eliminate_nop_monotone_argmax", "eliminate_nop_pad", "eliminate_nop_reshape",
    "eliminate_nop_split", "eliminate_nop_transpose", "eliminate_nop_with_unit", "eliminate_shape_gather",
    "eliminate_shape_op", "eliminate_slice_after_shape", "eliminate_unused_initializer",
    "extract_constant_to_initializer", "fuse_add_bias_into_conv", "fuse_bn_into_conv", "fuse_concat_into_reshape",
    "fuse_consecutive_concats", "fuse_consecutive_log_softmax", "fuse_consecutive_reduce_unsqueeze",
    "fuse_consecutive_slices", "fuse_consecutive_squeezes", "fuse_consecutive_transposes",
    "fuse_consecutive_unsqueezes", "fuse_matmul_add_bias_into_gemm", "fuse_pad_into_conv", "fuse_pad_into_pool",
    "fuse_qkv", "fuse_transpose_into_gemm", "lift_lexical_references", "nop", "rename_input_output",
    "replace_einsum_with_matmul", "rewrite_input_dtype", "rewrite_where", "set_unique_name_for_nodes", "split_init",
    "split_predict",
)  # fmt: skip

TRANSFORMER_MODEL_TYPES = (
    "bart", "bert", "bert_keras", "bert_tf", "clip", "conformer", "gpt2", "gpt2_tf", "gpt_neox", "mmdit", "phi",
    "qwen3", "sam2", "swin", "t5", "tnlr", "unet", "vae", "vit",
)  # fmt: skip
"""Model types of ONNX Runtime's transformer optimizer."""
