"""What an action does in the recipe's words, such as "static int8, qdq" or "onnxruntime basic"."""

from __future__ import annotations

from onnxbuild.plan.action import Action
from onnxbuild.recipe.types import FileData, LoaderData, Pruning, Quantization
from onnxbuild.stages.auto import AutoParams
from onnxbuild.stages.benchmark import BenchmarkParams
from onnxbuild.stages.blame import BlameParams
from onnxbuild.stages.compile import CompileParams
from onnxbuild.stages.data import DataParams
from onnxbuild.stages.export import ExportParams
from onnxbuild.stages.optimize import OptimizeParams
from onnxbuild.stages.package import PackageParams
from onnxbuild.stages.place import PlaceParams
from onnxbuild.stages.prune import PruneParams
from onnxbuild.stages.quantize import QuantizeParams
from onnxbuild.stages.reference import ReferenceParams
from onnxbuild.stages.repair import RepairParams
from onnxbuild.stages.tools import tool_name
from onnxbuild.stages.tune import TuneParams
from onnxbuild.stages.validate import ValidateParams


def title_action(action: Action) -> str:
    """Return the action's title; the stage's own name where parameters say nothing a reader would ask for."""
    match action.params:
        case ExportParams(source=source):
            return f"{action.stage} from {source.framework.value}"
        case OptimizeParams(step=step):
            return tool_name(step)
        case PruneParams(pruning=pruning):
            return _pruning(pruning)
        case QuantizeParams(quantization=quantization):
            return _quantization(quantization)
        case ReferenceParams():
            return "outputs of the source itself"
        case PackageParams():
            return "files to deliver"
        case BenchmarkParams(provider=provider):
            return f"timed {_variants(action)} on {provider}"
        case TuneParams(objective=objective, provider=provider):
            return f"session for {objective} on {provider}"
        case AutoParams(candidates=candidates, objective=objective):
            best = {"latency": "fastest", "size": "smallest", "accuracy": "closest"}[objective]
            return f"the {best} of float32, {', '.join(candidate.mode for candidate in candidates)}"
        case RepairParams():
            return "what to keep in float to meet the tolerance"
        case BlameParams():
            return "layers kept in float, one at a time"
        case ValidateParams(provider=provider):
            return f"measured {action.inputs['model'].action.partition('/')[2]} on {provider}"
        case CompileParams(provider=provider):
            return f"compiled {action.inputs['model'].action.partition('/')[2]} for {provider}"
        case PlaceParams(provider=provider):
            return f"placed {action.inputs['model'].action.partition('/')[2]} on {provider}"
        case DataParams(data=data):
            match data:
                case FileData(path=path):
                    return f"read {path}"
                case LoaderData(function=function):
                    return f"load {function.file}:{function.name}"
                case _:
                    return "generate random data"
        case _:
            return action.stage


def _variants(action: Action) -> str:
    """Return which models a benchmark runs, by the actions that make them."""
    named = [action.inputs[label].action.partition("/")[2] for label in ("model", "other") if label in action.inputs]
    return " and ".join(named)


def _pruning(pruning: Pruning) -> str:
    match pruning.method:
        case "magnitude":
            return f"magnitude, {(pruning.sparsity or 0) * 100:g}% by {pruning.scope}"
        case "threshold":
            return f"threshold {pruning.threshold:g}"
        case _:
            return f"{pruning.n}:{pruning.m} sparsity"


def _quantization(quantization: Quantization) -> str:
    match quantization.mode:
        case "static":
            channel = ", per channel" if quantization.per_channel else ""
            types = f"{quantization.weights} weights, {quantization.activations} activations"
            return f"static {types}, {quantization.format}, {quantization.calibrate}{channel}"
        case "dynamic":
            return f"dynamic {quantization.weights}" + (", per channel" if quantization.per_channel else "")
        case "int4":
            return f"int4 in blocks of {quantization.block_size}"
        case mode:
            return mode
