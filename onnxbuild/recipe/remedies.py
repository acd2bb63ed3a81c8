"""The edit that a value of the wrong kind asks for, where what was meant is plain; knows no schema and no place."""

from __future__ import annotations

from typing import Any

_INSIDE = {
    "calibration": "data",
    "custom": "function",
    "evaluation": "data",
    "quantization": "mode",
    "size": "at_most",
    "speed": "at_least",
}
"""Keys that hold a mapping, and the key in it that people mean who write a single value."""
_LISTS = frozenset({"batch", "candidates", "env", "exclude", "formats", "op_types", "outputs", "reads"})
_INT8 = "int8 is `mode: dynamic`, or `mode: static` with `calibration`"
_ELSEWHERE = {
    ("framework", "pt"): "torch",
    ("framework", "tf"): "tensorflow",
    ("metric", "acc"): "accuracy",
    ("metric", "auc"): "roc_auc",
    ("mode", "fp16"): "float16",
    ("mode", "half"): "float16",
    ("providers", "amd"): "migraphx",
    ("providers", "apple"): "coreml",
    ("providers", "gpu"): "cuda",
    ("providers", "intel"): "openvino",
    ("providers", "nvidia"): "cuda",
    ("providers", "rocm"): "migraphx",
    ("providers", "trt"): "tensorrt",
}
"""What other tools call a thing, and what it is called here."""


def remedy(path: tuple[str | int, ...], value: Any) -> str | None:
    """Return the edit that makes `value`, which does not fit at `path`, what it was plainly meant to be."""
    last, above = (path[-1] if path else ""), (path[-2] if len(path) > 1 else "")
    if last == "passes" and isinstance(value, dict):
        return "begin each pass with a `-` of its own"
    if value is None or isinstance(value, dict | list | bool):
        return None
    if above == "dynamic_axes":
        return f"write `{last}: {{max: {value}}}`" if isinstance(value, int) else None
    if above in ("inputs", "outputs", "variants"):  # names of the user's, whatever they mean elsewhere
        return None
    if (last in ("mode", "quantization")) and value in ("int8", "uint8"):
        return _INT8
    if (word := meant(str(last), value)) is not None:
        return word
    if last in _LISTS:
        return f"write `{last}: [{value}]`"
    if last in _INSIDE:
        return f"write `{last}: {{{_INSIDE[last]}: {value}}}`"
    if above == "passes":
        return "a pass is written `- onnxslim: default`"
    if last == "metric" and ".py:" in str(value):
        return f"write `metric: {{custom: {value}}}`"
    if isinstance(value, str) and value.isdecimal():
        return "write it without quotes"
    return None


def meant(key: str, value: Any) -> str | None:
    """Return the word for what other tools call `value`, as a hint."""
    word = _ELSEWHERE.get((key, value)) if isinstance(value, str) else None
    return f"did you mean '{word}'?" if word is not None else None
