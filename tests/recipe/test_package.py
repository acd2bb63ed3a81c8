"""The `package` section: compiled models are tied to a device, and somebody must be able to make them."""

from __future__ import annotations

import pytest

from onnxbuild.recipe.providers import COMPILING
from tests.recipe.builder import ProjectFiles


def test_compiled_stands_beside_onnx(project: ProjectFiles):
    project.extend("providers: {cpu: {}, qnn: {}}\npackage: {formats: [onnx, compiled], portable: false}\n")
    assert project.target().package.formats == ("onnx", "compiled")


@pytest.mark.parametrize(
    ("package", "code", "line", "column", "words"),
    [
        ("{formats: [onnx, compiled]}", "not-portable", 7, 27, "portable: false"),
        ("{formats: [onnx, compiled], portable: true}", "not-portable", 7, 48, "portable: false"),
        ("{formats: [compiled], portable: false}", "wrong-value", 7, 20, "[onnx, compiled]"),
    ],
)
def test_compiled_is_tied_to_a_device(
    project: ProjectFiles, package: str, code: str, line: int, column: int, words: str
):
    project.extend(f"providers: {{qnn: {{}}}}\npackage: {package}\n")
    found = project.only()
    assert found.place is not None
    assert (found.code, found.place.line, found.place.column) == (code, line, column)
    assert words in (found.hint or "")


def test_somebody_must_compile(project: ProjectFiles):
    project.extend("providers: {cpu: {}, tensorrt: {}}\npackage: {portable: false, formats: [onnx, compiled]}\n")
    found = project.only()
    assert found.place is not None
    assert (found.code, found.place.line, found.place.column) == ("wrong-value", 7, 44)
    assert "cpu, tensorrt" in found.message
    assert all(name in (found.hint or "") for name in COMPILING)


def test_a_variant_is_told_in_its_own_line(project: ProjectFiles):
    project.extend(
        """\
        providers: {qnn: {}}
        package: {portable: false, formats: [onnx, compiled]}
        variants:
          a: {}
          b: {providers: {qnn: null, cpu: {}}}
        """
    )
    assert project.places() == [("wrong-value", 7, 44)]
