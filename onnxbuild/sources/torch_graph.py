"""The graph that torch's exporter delivers, cleaned of its scaffolding; knows nothing of how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxbuild.sources.source import SourceRequest

if TYPE_CHECKING:
    import onnx_ir as ir


def fold_scaffolding(model: ir.Model) -> None:
    """Fold what the exporter computes from constants alone, transposed weights above all, and nothing else.

    The exporter's own optimizer also fuses (batch norm into convolution), which a recipe asks for as a pass.
    """
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    moves = ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Concat", "Cast", "Identity")
    weights = sum(
        value.const_value.size for value in model.graph.initializers.values() if value.const_value is not None
    )

    def moves_a_weight(node: ir.Node) -> bool | None:
        constant = all(value is None or value.const_value is not None for value in node.inputs)
        return True if node.op_type in moves and constant else None

    for _ in range(2):
        fold_constants(model, output_size_limit=max(weights, 1 << 18), should_fold=moves_a_weight)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)


def name_by_position(model: ir.Model, request: SourceRequest) -> None:
    """Name inputs and outputs by their place, so that no name of forward's can match one of the recipe by chance.

    An axis that has one size only was traced as that size; it gets its name back.
    """
    for position, (value, declared) in enumerate(zip(model.graph.inputs, request.inputs, strict=True)):
        value.name = f"{position}:{declared.name}"
        for axis, dim in enumerate(declared.shape):
            if isinstance(dim, str) and value.shape is not None and isinstance(value.shape[axis], int):
                value.shape[axis] = dim
    for position, (value, output) in enumerate(zip(model.graph.outputs, request.outputs, strict=True)):
        if value.producer() is not None:
            value.name = f"{position}:{output.name}"


def free_output_dims(model: ir.Model, first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> None:
    """Make unknown each output dim that the exporter fixed although it differs between two runs of the model.

    `first` and `second` are the outputs' shapes at two sizes of the inputs. Loops (recurrent layers) are exported
    with the example's length as their output's declared dim.
    """
    wrong = False
    for value, one, two in zip(model.graph.outputs, first, second, strict=True):
        if value.shape is None or len(one) != len(two) or len(value.shape) != len(one):
            continue
        for axis, (a, b) in enumerate(zip(one, two, strict=True)):
            if a != b and isinstance(value.shape[axis], int):
                value.shape[axis] = None
                wrong = True
    if wrong:  # then what it wrote about the values between is no better
        outputs = set(model.graph.outputs)
        for node in model.graph.all_nodes():
            for value in node.outputs:
                if value not in outputs:
                    value.shape = None
