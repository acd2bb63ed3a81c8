"""Loading a PyTorch model: a factory with its weights, or an exported program; knows nothing of ONNX."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function, user_frames
from onnxbuild.sources.source import SourceRequest

if TYPE_CHECKING:
    import torch

SHOWN = 5
"""How many names a message lists before it says how many more there are."""


def load_module(request: SourceRequest) -> torch.nn.Module:
    """Return the factory's module in eval mode, its weights loaded; raises StageFailure.

    Seeded before the factory runs, so that a model without weights file is the same each time.
    """
    import torch

    factory = request.source.factory
    assert factory is not None
    torch.set_num_threads(1)  # sums in the same order everywhere, and a forked child cannot hang in a thread pool
    torch.manual_seed(0)
    build = load_function(request.files["factory"], factory.name)
    with user_frames(f"{factory.name}() in {request.files['factory'].name}"):
        model = build(**factory.args)
    if not isinstance(model, torch.nn.Module):
        raise StageFailure(
            "source-does-not-load",
            f"{factory.name}() returned a {type(model).__name__}, not a torch.nn.Module",
            hint=f"return the module from {factory.name}()",
        )
    if "weights" in request.files:
        load_weights(model, request.files["weights"])
    return model.eval()


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Load a state dictionary into `model`, every key and shape matching; raises StageFailure."""
    state = _read_state(file)
    expected = model.state_dict()
    problems = _differences(
        {k: tuple(v.shape) for k, v in expected.items()}, {k: tuple(v.shape) for k, v in state.items()}
    )
    if problems:
        raise StageFailure(
            "weights-do-not-fit",
            f"{file.name} does not fit the model: {'; '.join(problems)}",
            hint="the factory and its args must build the model that the weights were saved from",
        )
    model.load_state_dict(state, strict=True)


def _read_state(file: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise many unrelated types
        raise StageFailure(
            "source-does-not-load",
            f"{file.name} cannot be read as weights: {_first_line(error)}",
            hint="save them with safetensors.torch.save_file(model.state_dict(), ...)",
            tool="torch",
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        holds = (
            f"a mapping of {_listed(map(str, state))}" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        )
        raise StageFailure(
            "source-does-not-load",
            f"{file.name} holds {holds}, not a state dictionary of tensors",
            hint="save model.state_dict() alone",
        )
    return dict(state)


def _differences(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> list[str]:
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"it lacks {_listed(missing)}")
    if unexpected := [name for name in found if name not in expected]:
        problems.append(f"the model has no {_listed(unexpected)}")
    if differing := [name for name in expected if name in found and expected[name] != found[name]]:
        problems.append(
            _listed(
                f"{name} is {list(found[name])} in the file and {list(expected[name])} in the model"
                for name in differing
            )
        )
    return problems


def load_program(request: SourceRequest) -> torch.export.ExportedProgram:
    """Return the exported program of a .pt2 file; its loader can run code, so it must be trusted.

    Raises StageFailure.
    """
    import torch

    file = request.files["path"]
    if not request.source.trust_pickle:
        raise StageFailure(
            "untrusted-pickle",
            f"{file.name} is read by a loader that can run code",
            hint="if you trust it, add `trust: pickle` and its `sha256` to the source",
        )
    torch.set_num_threads(1)
    try:
        program = torch.export.load(file)
    except Exception as error:  # many unrelated types
        raise StageFailure(
            "source-does-not-load", f"{file.name} is no exported program: {_first_line(error)}", tool="torch"
        ) from None
    _check_program_inputs(program, request)
    return program


def _check_program_inputs(program: torch.export.ExportedProgram, request: SourceRequest) -> None:
    positional, keywords = (_children(spec) for spec in _children(program.call_spec.in_spec))
    if keywords or any(not spec.is_leaf() for spec in positional):
        raise StageFailure(
            "source-inputs",
            "the exported program takes keywords, lists, tuples or dictionaries; an ONNX input is one tensor",
            hint="export a module whose forward takes tensors by position",
        )
    if len(positional) != len(request.inputs):
        raise StageFailure(
            "source-inputs",
            f"the exported program takes {len(positional)} inputs, the recipe declares {len(request.inputs)}",
            hint="declare one input for each argument, in its order",
        )


def _children(spec: Any) -> list[Any]:
    # A method in new releases of torch, an attribute in older ones.
    return list(spec.children() if hasattr(spec, "children") else spec.children_specs)


def check_forward(model: torch.nn.Module, count: int) -> None:
    """Check that forward takes `count` tensors by position; raises StageFailure (`source-inputs`)."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    fixed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in fixed if p.default is p.empty]
    takes_more = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    names = ", ".join(p.name for p in fixed) or "nothing"
    if count < len(required) or (count > len(fixed) and not takes_more):
        raise StageFailure(
            "source-inputs",
            f"forward takes {names}; the recipe declares {count} input{'s' if count != 1 else ''}",
            hint="declare one input for each argument of forward, in its order",
        )
    if keywords := [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]:
        raise StageFailure(
            "source-inputs",
            f"forward requires {', '.join(keywords)} by keyword",
            hint="wrap the model in a module whose forward takes tensors by position",
        )
    for parameter in fixed[:count]:
        if _is_container(parameter.annotation):
            raise StageFailure(
                "source-inputs",
                f"forward's argument {parameter.name} is a list, tuple or dictionary; an ONNX input is one tensor",
                hint="wrap the model in a module whose forward takes tensors and builds the structure itself",
            )


def _is_container(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.split("[")[0].rpartition(".")[2].lower() in ("dict", "list", "tuple", "mapping", "sequence")
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type):
        return issubclass(origin, dict | list | tuple | Mapping)
    return any(_is_container(option) for option in get_args(annotation))


def flat_outputs(value: object, count: int) -> tuple[torch.Tensor, ...]:
    """Return a model's outputs as `count` tensors; raises StageFailure (`source-outputs`) for anything nested."""
    import torch

    values = (value,) if isinstance(value, torch.Tensor) else value
    if isinstance(values, Mapping) or not isinstance(values, tuple | list):
        names = f" with {_listed(map(str, values))}" if isinstance(values, Mapping) else ""
        raise StageFailure(
            "source-outputs",
            f"forward returns a {type(value).__name__}{names}; ONNX outputs are tensors in an order",
            hint="return a tensor or a flat tuple of tensors, for example `return out['logits'],`",
        )
    odd = [type(item).__name__ for item in values if not isinstance(item, torch.Tensor)]
    if odd:
        raise StageFailure(
            "source-outputs",
            f"forward returns a {type(value).__name__} that holds {_listed(odd)}",
            hint="return a tensor or a flat tuple of tensors",
        )
    if len(values) != count:
        raise StageFailure("source-outputs", f"forward returns {len(values)} tensors, the recipe names {count} outputs")
    return tuple(values)


def _listed(names: Any) -> str:
    known = list(names)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
