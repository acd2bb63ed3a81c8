"""The script beside a minimal model: it needs onnx, onnxruntime and the tool itself; runs nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from onnxbuild.recipe.types import (
    CustomPass,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Pass,
    TransformersPass,
)
from onnxbuild.stages.reverts import Breakage
from onnxbuild.stages.tools import package_of

README = "repro.py applies one pass to model.onnx and runs it before and after on inputs.npz: python repro.py\n"

_PARTS = (
    '''\
"""{title}

{what}
Seen with {versions}. Run: python repro.py
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model.onnx"''',
    '''\
def apply(out: Path) -> None:
    """Write what the pass makes of the model to `out`."""
{body}''',
    '''\
def run(file: Path, arrays: list) -> dict:
    """Run a model and give its outputs by name, without any optimisation of ONNX Runtime's own."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    feed = {{value.name: array for value, array in zip(session.get_inputs(), arrays)}}
    return dict(zip(names, session.run(names, feed)))''',
    '''\
def show(before: dict, after: dict) -> None:
    """Print both and how far apart they are."""
    if list(before) != list(after):
        print(f"outputs {{list(before)}} became {{list(after)}}")
    for name, x, y in zip(before, before.values(), after.values()):
        print(f"{{name}} before: {{x.dtype}}{{list(x.shape)}} {{x.ravel()[:8]}}")
        print(f"{{name}} after:  {{y.dtype}}{{list(y.shape)}} {{y.ravel()[:8]}}")
        if x.shape != y.shape or x.dtype.kind not in "biufc" or y.dtype.kind not in "biufc":
            same = x.shape == y.shape and bool((x == y).all())
            print(f"{{name}} difference: {{'none' if same else 'other shape or values'}}")
        else:
            far = np.abs(x.astype(np.float64) - y.astype(np.float64))
            print(f"{{name}} difference: {{far.max(initial=0.0)}}, in {{np.count_nonzero(far)}} of {{x.size}}")''',
    '''\
def main() -> None:
    """Run the model, apply the pass, run what it made."""
    stored = np.load(HERE / "inputs.npz", allow_pickle=False)
    session = ort.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    arrays = [stored[f"arr_{{number}}"] for number in range(len(session.get_inputs()))]
    arrays = [array.astype(object) if array.dtype.kind == "U" else array for array in arrays]
    before = run(MODEL, arrays)
    print("the model runs; applying the pass", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "after.onnx")
        apply(out)
        nodes = [len(onnx.load(file).graph.node) for file in (MODEL, out)]
        print(f"{{nodes[0]}} nodes before, {{nodes[1]}} after", flush=True)
        show(before, run(out, arrays))''',
    """\
if __name__ == "__main__":
    main()""",
)


def write_script(step: Pass, only: Sequence[str] | None, name: str, broke: Breakage, out: Path) -> None:
    """Write repro.py to `out`: it applies the parts in `only` (None: all) of an entry."""
    packages = ("onnx", "onnxruntime", *((package,) if (package := package_of(step)) else ()))
    text = "\n\n\n".join(_PARTS).format(
        title=f"{_plain(name)}: {_plain(broke.code)}",
        what=_plain(broke.message),
        versions=", ".join(f"{p} {_version(p)}" for p in dict.fromkeys(packages)),
        body="\n".join(f"    {line}" if line else "" for line in _body(step, only)),
    )
    (out / "repro.py").write_text(text + "\n", encoding="utf-8")


def _plain(text: str) -> str:
    """Return text that cannot end a docstring: names in it are a foreign model's."""
    return text.replace("\\", "/").replace('"""', "'''").encode("ascii", "replace").decode()


def _version(package: str) -> str:
    names = (package, f"{package}-gpu") if package == "onnxruntime" else (package,)
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "?"


def _body(step: Pass, only: Sequence[str] | None) -> list[str]:
    chosen = None if only is None else list(only)
    match step:
        case OnnxoptimizerPass(names=names):
            wanted = chosen if chosen is not None else (list(names) if names is not None else None)
            return [
                "import onnxoptimizer",
                "",
                f"onnx.save(onnxoptimizer.optimize(onnx.load(MODEL), {wanted!r}), out)",
            ]
        case OnnxscriptPass():
            return _onnxscript(chosen)
        case OnnxslimPass():
            return _onnxslim(chosen)
        case OnnxruntimePass(level=level):
            return _onnxruntime(level, chosen)
        case TransformersPass():
            return _transformers(step, chosen)
        case CustomPass(function=function):
            return [
                "import sys",
                "",
                "import onnx_ir",
                "",
                "sys.path.insert(0, str(HERE))",
                "import custom_pass",
                "",
                f"arguments = json.loads({_json(function.args)!r})",
                f"onnx_ir.save(custom_pass.{function.name}(onnx_ir.load(MODEL), **arguments), out)",
            ]


def _json(value: object) -> str:
    import json

    return json.dumps(value)


def _onnxscript(only: list[str] | None) -> list[str]:
    if only is None:
        return [
            "import onnx_ir",
            "from onnxscript import optimizer",
            "",
            "model = onnx_ir.load(MODEL)",
            "optimizer.optimize(model)",
            "onnx_ir.save(model, out)",
        ]
    from onnxbuild.ir.passes.onnxscript import source_of

    lines = ["import onnx_ir", "from onnx_ir.passes import common", "from onnxscript import rewriter"]
    lines += ["from onnxscript.optimizer import _constant_folding as folding", "", "model = onnx_ir.load(MODEL)"]
    lines += [f"model = {call}(model).model" for part in only for call in source_of(part)]
    return [*lines, "common.OutputFixPass()(model)", "common.NameFixPass()(model)", "onnx_ir.save(model, out)"]


def _onnxslim(only: list[str] | None) -> list[str]:
    from onnxbuild.ir.passes.onnxslim import OPTIMIZATIONS, parts

    skipped = [] if only is None else [part for part in parts() if part not in only]
    return [
        "import onnxslim",
        "",
        "model = onnxslim.slim(",
        "    str(MODEL),",
        f"    skip_optimizations={[part for part in skipped if part in OPTIMIZATIONS]!r},",
        f"    skip_fusion_patterns={[part for part in skipped if part not in OPTIMIZATIONS]!r},",
        ")",
        "onnx.save(model, out)",
    ]


def _onnxruntime(level: str, only: list[str] | None) -> list[str]:
    from onnxbuild.ort.optimizer import PARTS

    off = [] if only is None else [part for part in PARTS[level] if part not in only]
    return [
        "options = ort.SessionOptions()",
        f"options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_{level.upper()}",
        "options.optimized_model_filepath = str(out)",
        f"disabled = {off!r}",
        'options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(disabled))',
        'ort.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])',
    ]


def _transformers(step: TransformersPass, only: list[str] | None) -> list[str]:
    lines = [
        "from onnxruntime.transformers.fusion_options import FusionOptions",
        "from onnxruntime.transformers.optimizer import optimize_model",
        "",
        f"options = FusionOptions({step.model_type!r})",
    ]
    if only is not None:
        lines += [
            "for name in [name for name in vars(options) if name.startswith('enable_') and getattr(options, name)]:",
            f"    setattr(options, name, name.removeprefix('enable_') in {only!r})",
        ]
    return [
        *lines,
        f"result = optimize_model(str(MODEL), {step.model_type!r}, {step.num_heads}, {step.hidden_size}, options, 0)",
        "if all(entry.domain != 'com.microsoft' for entry in result.model.opset_import):",
        "    result.model.opset_import.append(onnx.helper.make_opsetid('com.microsoft', 1))",
        "onnx.save(result.model, out)",
    ]
