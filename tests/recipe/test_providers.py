"""The `providers` section: names, options against the table, limits; and the table against the installed runtime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import onnxruntime
import pytest

from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.raw import ProviderName
from onnxbuild.recipe.types import Bound
from tests.recipe.builder import ProjectFiles

LIBRARIES = Path(onnxruntime.__file__).parent / "capi"


def test_full_names_and_the_defaults(project: ProjectFiles):
    project.extend("providers: {CUDAExecutionProvider: {}, cpu: {}}\n")
    cuda, cpu = project.target().providers
    assert (cuda.name, cpu.name) == ("cuda", "cpu")
    assert (cuda.min_nodes, cuda.options, cuda.required) == (None, {}, False)


def test_everything_a_provider_may_say(project: ProjectFiles):
    project.extend(
        """\
        providers:
          cuda: {min_nodes: 12, required: true, options: {use_tf32: false, gpu_mem_limit: 2147483648}}
          openvino:
            min_nodes: 95%
            options: {load_config: {CPU: {INFERENCE_PRECISION_HINT: f32}}, device_type: CPU}
        """
    )
    cuda, openvino = project.target().providers
    assert cuda.min_nodes == Bound(kind="at_least", value=12, text="at least 12 nodes")
    assert cuda.required
    assert cuda.options == {"use_tf32": "0", "gpu_mem_limit": "2147483648"}
    assert openvino.min_nodes == Bound(kind="at_least", value=0.95, of="nodes", text="at least 95% of nodes")
    assert openvino.options["load_config"] == '{"CPU":{"INFERENCE_PRECISION_HINT":"f32"}}'


@pytest.mark.parametrize(
    ("text", "code", "column", "hint"),
    [
        ("cuda: {options: {use_tf23: 0}}", "unknown-option", 30, "did you mean 'use_tf32'?"),
        ("cpu: {options: {threads: 1}}", "unknown-option", 29, "it takes none"),
        ("openvino: {options: {precision: FP32}}", "unknown-option", 34, "INFERENCE_PRECISION_HINT"),
        ("openvino: {options: {num_of_threads: 1}}", "unknown-option", 34, "INFERENCE_NUM_THREADS"),
        ("cuda: {options: {use_tf32: maybe}}", "wrong-value", 40, None),
        ("cuda: {options: {gpu_mem_limit: 2 GB}}", "wrong-value", 45, None),
        ("cuda: {options: {cudnn_conv_algo_search: BEST}}", "wrong-value", 54, None),
        ("openvino: {min_nodes: 101%}", "wrong-value", 35, None),
        ("qnn: {options: {ep.context_enable: 1}}", "unknown-option", 29, "formats: [onnx, compiled]"),
        ("qnn: {options: {enable_htp_prepare_only: 1}}", "unknown-option", 29, "formats: [onnx, compiled]"),
        ("qnn: {options: {backend: htp}}", "unknown-option", 29, "backend_type"),
        ("qnn: {options: {backend_type: npu}}", "wrong-value", 43, None),
        ("tensorrt: {options: {trt_engine_cache_enable: true}}", "unknown-option", 34, "leave it out"),
    ],
)
def test_what_the_table_knows_to_be_wrong(project: ProjectFiles, text: str, code: str, column: int, hint: str | None):
    project.extend(f"providers: {{{text}}}\n")
    found = project.only()
    assert found.place is not None
    assert (found.code, found.place.line, found.place.column - 1) == (code, 6, column - 1)
    assert hint is None or hint in (found.hint or "")


def test_options_of_a_provider_whose_tool_tells_none_are_passed_on(project: ProjectFiles):
    project.extend("providers: {webgpu: {options: {powerPreference: high-performance}}}\n")
    assert project.target().providers[0].options == {"powerPreference": "high-performance"}


def test_other_formats_are_made_from_onnx(project: ProjectFiles):
    project.extend("package: {formats: [ort]}\n")
    assert project.only().code == "wrong-value"


def test_the_schema_names_the_table():
    names = [*TABLE, *(entry.full_name for entry in TABLE.values())]
    assert sorted(get_args(ProviderName)) == sorted(names)


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_options_are_those_that_the_library_reads(name: str):
    library = LIBRARIES / f"libonnxruntime_providers_{name}.so"
    if not library.exists():
        pytest.skip(f"this build of ONNX Runtime has no {library.name}")
    texts = {m.group().decode() for m in re.finditer(rb"[a-z0-9_]{4,60}(?=\x00)", library.read_bytes())}
    assert set(TABLE[name].options or {}) - texts == set()


def test_options_of_openvino_are_those_that_the_plug_in_reads():
    plug_in = pytest.importorskip("onnxruntime_ep_openvino", reason="the openvino extra is not installed")
    texts = {
        m.group().decode() for m in re.finditer(rb"[a-z_]{4,60}(?=\x00)", Path(plug_in.get_library_path()).read_bytes())
    }
    assert set(TABLE["openvino"].options or {}) - texts == set()


def test_options_of_qnn_are_those_that_the_plug_in_reads():
    plug_in = pytest.importorskip("onnxruntime_qnn", reason="onnxruntime-qnn is not installed")
    library = Path(plug_in.get_library_path()).read_bytes()
    named = set(TABLE["qnn"].options or {}) - {"device_type"}  # that one is ours
    assert {name for name in named if name.encode() not in library} == set()
