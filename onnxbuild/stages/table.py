"""All stages by name, registered by hand; importing this imports no model library and no framework."""

from __future__ import annotations

from onnxbuild.stages.auto import AUTO
from onnxbuild.stages.benchmark import BENCHMARK
from onnxbuild.stages.blame import BLAME
from onnxbuild.stages.compare import COMPARE
from onnxbuild.stages.compile import COMPILE
from onnxbuild.stages.data import DATA
from onnxbuild.stages.describe import DESCRIBE
from onnxbuild.stages.difference import DIFFERENCE
from onnxbuild.stages.export import CANONICALIZE, EXPORT
from onnxbuild.stages.inspect import INSPECT
from onnxbuild.stages.optimize import OPTIMIZE
from onnxbuild.stages.package import PACKAGE
from onnxbuild.stages.place import PLACE
from onnxbuild.stages.prune import PRUNE
from onnxbuild.stages.quantize import QUANTIZE
from onnxbuild.stages.reference import REFERENCE
from onnxbuild.stages.repair import REPAIR
from onnxbuild.stages.stage import AnyStage
from onnxbuild.stages.tune import TUNE
from onnxbuild.stages.validate import VALIDATE

STAGES: dict[str, AnyStage] = {
    stage.name: stage
    for stage in (
        EXPORT,
        CANONICALIZE,
        DATA,
        REFERENCE,
        OPTIMIZE,
        PRUNE,
        QUANTIZE,
        AUTO,
        REPAIR,
        COMPILE,
        VALIDATE,
        PLACE,
        BENCHMARK,
        TUNE,
        PACKAGE,
        BLAME,
        INSPECT,
        DIFFERENCE,
        COMPARE,
        DESCRIBE,
    )
}
