"""onnxscript's optimizer: folding, inlining of functions, rewrite rules; works over mapped weights of any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.foreign import foreign_tool

TOOL = "onnxscript"
CLEANING = "clean-up"
_RULE = "rewrite "


def parts() -> tuple[str, ...]:
    """Return what the optimizer is made of, in its order: its passes, and each rewrite rule by itself."""
    from onnxscript import rewriter

    rules = [_rule_name(number, rule) for number, rule in enumerate(rewriter._DEFAULT_REWRITE_RULES)]
    return ("inline", "fold constants", *rules, CLEANING, "lift constants", "share constants", "share subexpressions")


def optimize(model: ir.Model, scratch: Path, only: Sequence[str] | None = None) -> ir.Model:
    """Return the optimised model; `model` itself may be changed. `only` names the parts that run, None is all."""
    with foreign_tool(TOOL, scratch):
        from onnxscript import optimizer

        if only is None:
            return optimizer.optimize(model)  # type: ignore[no-any-return]  # onnxscript is untyped
        for step in _steps(frozenset(only)):
            model = step(model).model
        return model


def _steps(only: frozenset[str]) -> list[ir.passes.PassBase]:
    """Return what onnxscript.optimizer.optimize_ir strings together, less what is not in `only`."""
    from onnx_ir.passes import common
    from onnxscript import rewriter
    from onnxscript.optimizer import _constant_folding as folding

    numbered = enumerate(rewriter._DEFAULT_REWRITE_RULES)
    rules = [rule for number, rule in numbered if _rule_name(number, rule) in only]
    limits = folding.DEFAULT_CONSTANT_FOLD_INPUT_SIZE_LIMIT, folding.DEFAULT_CONSTANT_FOLD_OUTPUT_SIZE_LIMIT
    fold = folding.FoldConstantsPass(shape_inference=True, input_size_limit=limits[0], output_size_limit=limits[1])
    clean = (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]  # of onnx_ir
        common.RemoveUnusedOpsetsPass(),
    )
    loop: list[ir.passes.PassBase] = [
        *((fold,) if "fold constants" in only else ()),
        *((rewriter.RewritePass(rules),) if rules else ()),
        *(clean if CLEANING in only else ()),
    ]
    ends: dict[str, list[ir.passes.PassBase]] = {
        CLEANING: [common.RemoveUnusedNodesPass()],
        "lift constants": [
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            common.LiftSubgraphInitializersToMainGraphPass(),
        ],
        "share constants": [common.DeduplicateInitializersPass()],
        "share subexpressions": [common.CommonSubexpressionEliminationPass()],
    }
    return [
        *((common.InlinePass(),) if "inline" in only else ()),
        *((ir.passes.PassManager(loop, steps=2, early_stop=True),) if loop else ()),
        *(step for name, steps in ends.items() if name in only for step in steps),
        common.OutputFixPass(),
        common.NameFixPass(),
    ]


def _rule_name(number: int, rule: object) -> str:
    return f"{_RULE}{getattr(rule, 'name', None) or number}"


def source_of(part: str) -> list[str]:
    """Return the Python expressions of the passes that a part is, for a script that imports `common`, `rewriter` and
    `folding` as `_steps` does.
    """
    from onnxscript import rewriter

    rules = [_rule_name(number, rule) for number, rule in enumerate(rewriter._DEFAULT_REWRITE_RULES)]
    if part in rules:
        return [f"rewriter.RewritePass([rewriter._DEFAULT_REWRITE_RULES[{rules.index(part)}]])"]
    limits = (
        "input_size_limit=folding.DEFAULT_CONSTANT_FOLD_INPUT_SIZE_LIMIT, "
        "output_size_limit=folding.DEFAULT_CONSTANT_FOLD_OUTPUT_SIZE_LIMIT"
    )
    return {
        "inline": ["common.InlinePass()"],
        "fold constants": [f"folding.FoldConstantsPass(shape_inference=True, {limits})"],
        CLEANING: ["common.RemoveUnusedNodesPass()", "common.RemoveUnusedFunctionsPass()"],
        "lift constants": [
            "common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)",
            "common.LiftSubgraphInitializersToMainGraphPass()",
        ],
        "share constants": ["common.DeduplicateInitializersPass()"],
        "share subexpressions": ["common.CommonSubexpressionEliminationPass()"],
    }[part]
