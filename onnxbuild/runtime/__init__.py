"""Runs a delivered package as it was measured; needs onnxruntime and numpy, and nothing else of onnxbuild.

from onnxbuild.runtime import load

model = load("build/digits-cnn/int8")
logits = model.run(image=images)["logits"]
"""

from onnxbuild.runtime.errors import InputError, PackageError, ProviderError
from onnxbuild.runtime.model import Model, load
from onnxbuild.runtime.package import Axis, Package, Value

__all__ = ["Axis", "InputError", "Model", "Package", "PackageError", "ProviderError", "Value", "load"]
