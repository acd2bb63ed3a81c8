"""A delivered package is opened as it was measured, and every wrong call is told what it should have been."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from onnxbuild.ort.session import LEVELS as MEASURED_LEVELS
from onnxbuild.ort.session import session_options as measured_options
from onnxbuild.recipe.known import PROVIDERS as RECIPES_PROVIDERS
from onnxbuild.recipe.providers import TABLE
from onnxbuild.recipe.types import Session
from onnxbuild.runtime import InputError, Model, PackageError, ProviderError, load
from onnxbuild.runtime.batches import cut
from onnxbuild.runtime.options import LEVELS, session_options
from onnxbuild.runtime.package import Axis, read_package
from onnxbuild.runtime.providers import PLUGINS, PROVIDERS, SIMULATORS, THEN
from onnxbuild.stamp import devices


def rows(count: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


@pytest.fixture
def mlp_model(delivered: Path) -> Model:
    return load(delivered / "mlp/default")


@pytest.fixture
def words(delivered: Path) -> Model:
    return load(delivered / "words/default")


def plain(folder: Path) -> ort.InferenceSession:
    return ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


# Opening


def test_it_needs_onnxruntime_and_numpy_only(delivered: Path) -> None:
    code = (
        "import sys, numpy, onnxruntime; before = set(sys.modules)\n"
        f"from onnxbuild.runtime import load; load({str(delivered / 'mlp/default')!r}, verify=True)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "print(sorted(new), sorted(n for n in sys.modules if n.startswith('onnxbuild.') and '.runtime' not in n))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['onnxbuild'] []"


def test_it_opens_with_the_session_that_was_measured(delivered: Path) -> None:
    options = load(delivered / "steady/default").session.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.graph_optimization_level == LEVELS["basic"]
    assert (options.enable_mem_pattern, options.enable_cpu_mem_arena) == (False, False)
    assert load(delivered / "mlp/default").session.get_session_options().intra_op_num_threads == 1


@pytest.mark.parametrize(
    "session",
    [
        Session(),
        *(Session(graph_optimization=level) for level in MEASURED_LEVELS),
        Session(intra_op_threads=3, memory_pattern=False, cpu_arena=True),
        Session(memory_pattern=True, cpu_arena=False),
    ],
)
def test_options_are_those_of_the_build(session: Session) -> None:
    written = {name: value for name in session.__struct_fields__ if (value := getattr(session, name)) is not None}
    here, there = session_options(written), measured_options(session)
    names = ("graph_optimization_level", "intra_op_num_threads", "enable_mem_pattern", "enable_cpu_mem_arena")
    assert [getattr(here, name) for name in names] == [getattr(there, name) for name in names]
    spinning = "session.intra_op.allow_spinning"
    assert here.get_session_config_entry(spinning) == there.get_session_config_entry(spinning)


def test_low_memory_turns_off_what_holds_memory(delivered: Path) -> None:
    options = load(delivered / "mlp/default", low_memory=True).session.get_session_options()
    assert (options.enable_mem_pattern, options.enable_cpu_mem_arena) == (False, False)
    assert options.get_session_config_entry("session.disable_prepacking") == "1"


def test_prepacking_is_off_for_a_large_model() -> None:
    entry = "session.disable_prepacking"
    assert session_options({}, 1_000_000_001).get_session_config_entry(entry) == "1"
    with pytest.raises(RuntimeError):
        session_options({}, 1_000_000_000).get_session_config_entry(entry)


@pytest.mark.parametrize(("name", "is_counted"), [("model.onnx.data", True), ("model.ort", False)])
def test_what_lies_beside_the_model_does_not_make_it_large(
    delivered: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_counted: bool
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(
        "onnxbuild.runtime.model.session_options",
        lambda session, size, **rest: sizes.append(size) or session_options(session, size, **rest),
    )
    package = read_package(delivered / "mlp/default")
    package.manifest["files"][name] = {"bytes": 2_000_000_000}
    monkeypatch.setattr("onnxbuild.runtime.model.read_package", lambda _: package)
    load(package.folder)
    assert (sizes[0] > 2_000_000_000) is is_counted


def test_providers_are_those_that_recipes_name() -> None:
    assert PROVIDERS == RECIPES_PROVIDERS


def test_provider_may_be_given_by_either_name(delivered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both get the options that the package was measured with, and a plug-in is one by either name."""
    asked: list[tuple[str, Any]] = []

    def open_session(model: str, options: object, provider: str, settings: Any, **_: object) -> ort.InferenceSession:
        asked.append((provider, settings))
        return plain(Path(model).parent)

    monkeypatch.setattr("onnxbuild.runtime.model.open_session", open_session)
    package = read_package(delivered / "mlp/default")
    package.manifest["provider_options"]["openvino"] = {"device_type": "CPU"}
    monkeypatch.setattr("onnxbuild.runtime.model.read_package", lambda _: package)
    for name in ("openvino", "OpenVINOExecutionProvider"):
        load(delivered / "mlp/default", provider=name)
    assert asked == [("openvino", {"device_type": "CPU"})] * 2


def test_plugins_are_those_of_the_recipes_table() -> None:
    table = {name: entry.plugin for name, entry in TABLE.items() if entry.plugin is not None}
    known = {name: (plugin.module, plugin.devices) for name, plugin in table.items()}
    assert known == PLUGINS


def test_simulators_are_those_of_the_recipes_table() -> None:
    known = {
        entry.name: (found.kind, found.machines, found.options, found.instead)
        for entry in TABLE.values()
        if entry.plugin is not None and (found := entry.plugin.simulator) is not None
    }
    assert known == SIMULATORS


def test_plugin_that_offers_nothing_is_told_each_time(delivered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library is registered by then, which ONNX Runtime refuses to do again."""
    monkeypatch.setitem(PROVIDERS, "mine", "MineExecutionProvider")
    monkeypatch.setitem(PLUGINS, "mine", ("numpy", ("GPU",)))
    monkeypatch.setattr(np, "get_library_path", lambda: "/nowhere/libmine.so", raising=False)
    with pytest.raises(ProviderError, match=r"'mine' does not load.*allow_fallback"):
        load(delivered / "mlp/default", provider="mine")

    def registered(*_: str) -> None:
        raise RuntimeError("EP library is already registered")

    monkeypatch.setattr(ort, "register_execution_provider_library", registered)
    with pytest.raises(ProviderError, match=r"'mine' offers no GPU.*allow_fallback"):
        load(delivered / "mlp/default", provider="mine")


def test_what_takes_over_is_what_recipes_are_measured_with() -> None:
    assert {name: tuple(then) for name, then in THEN.items()} == {e.name: e.then for e in TABLE.values() if e.then}


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime_ep_openvino") is not None, reason="openvino is installed")
def test_plugin_that_is_not_installed_is_named(delivered: Path) -> None:
    folder = delivered / "mlp/default"
    with pytest.raises(ProviderError, match="'openvino' needs the package onnxruntime-ep-openvino"):
        load(folder, provider="openvino")
    assert load(folder, provider="openvino", allow_fallback=True).provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("Failed to load library libmine.so", "'webgpu' does not load: Failed to load library libmine.so"),
        ("EP library is already registered under Mine", "'webgpu' offers no GPU on this machine"),
    ],
)
def test_plugin_whose_library_does_not_load_is_a_provider_that_is_not_there(
    delivered: Path, monkeypatch: pytest.MonkeyPatch, raised: str, said: str
) -> None:
    """A library stays registered where it has no device, and is not to be registered again."""

    def register(name: str, library: str) -> None:
        raise RuntimeError(raised)

    module = ModuleType("onnxruntime_ep_webgpu")
    monkeypatch.setattr(module, "get_library_path", lambda: "libmine.so", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_webgpu", module)
    monkeypatch.setattr(ort, "register_execution_provider_library", register)
    folder = delivered / "mlp/default"
    with pytest.raises(ProviderError, match=f"{said}.*allow_fallback"):
        load(folder, provider="webgpu")
    assert load(folder, provider="webgpu", allow_fallback=True).provider == "CPUExecutionProvider"


def test_verify_finds_an_altered_file(delivered: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(delivered / "words/default", tmp_path / "copy"))
    load(folder, verify=True)
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes().replace(b"doubled", b"tripled"))
    with pytest.raises(PackageError, match=r"model\.onnx is not what was delivered: SHA-256 [0-9a-f]{64}, expected"):
        load(folder, verify=True)


def test_folder_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"not a delivered package: manifest\.json cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 2}'])
def test_other_manifests_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(PackageError, match=r"manifest\.json (is not a manifest|has format 2)"):
        load(tmp_path)


def test_missing_model_is_told(delivered: Path, tmp_path: Path) -> None:
    shutil.copy(delivered / "mlp/default/manifest.json", tmp_path)
    with pytest.raises(PackageError, match=r"ONNX Runtime does not open .*model\.onnx"):
        load(tmp_path)


def test_provider_that_the_runtime_lacks_is_refused(delivered: Path) -> None:
    folder = delivered / "mlp/default"
    with pytest.raises(ProviderError, match=r"no provider 'coreml', only .*cpu.*allow_fallback"):
        load(folder, provider="coreml")
    assert load(folder, provider="coreml", allow_fallback=True).provider == "CPUExecutionProvider"


@pytest.mark.skipif("CUDAExecutionProvider" not in ort.get_available_providers(), reason="this wheel has no CUDA")
@pytest.mark.skipif(bool(devices()), reason="this machine has a GPU, so cuda may be there")
def test_silent_fall_back_is_refused(delivered: Path) -> None:
    folder = delivered / "mlp/default"
    silent = ort.InferenceSession(folder / "model.onnx", providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert silent.get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(ProviderError, match="asked for 'cuda' and got CPUExecutionProvider"):
        load(folder, provider="cuda")
    assert load(folder, provider="cuda", allow_fallback=True).provider == "CPUExecutionProvider"


# One call


def test_run_gives_what_the_session_gives(mlp_model: Model, delivered: Path) -> None:
    x = rows(5)
    (expected,) = plain(delivered / "mlp/default").run(None, {"x": x})
    np.testing.assert_array_equal(mlp_model.run({"x": x})["y"], expected)
    np.testing.assert_array_equal(mlp_model.run(x=x)["y"], expected)


@pytest.mark.parametrize("kind", [object, np.str_])
def test_strings_run(words: Model, kind: Any) -> None:
    word = np.array([["red"], ["blue"], ["green"]]).astype(kind)
    outputs = words.run(word=word, number=rows(3, 2))
    assert outputs["code"].tolist() == [[1], [2], [0]]


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["the input 'x' is missing"]),
    "no mapping": ([rows(2)], ["the call is a list, expected a mapping of arrays by the inputs' names"]),  # type: ignore[dict-item]
    "the array": (rows(2), ["the call is a ndarray, expected a mapping"]),  # type: ignore[dict-item]
    "another name": ({"z": rows(2)}, ["the input 'x' is missing", "there is no input 'z', expected 'x'"]),
    "one more": ({"x": rows(2), "z": rows(2)}, ["there is no input 'z', expected 'x'"]),
    "a list": ({"x": rows(2).tolist()}, ["'x' is a list, expected a numpy array float32[batch, 8]"]),
    "float64": ({"x": rows(2).astype(np.float64)}, ["'x' has dtype float64, expected float32"]),
    "rank": ({"x": rows(2)[0]}, ["'x' has shape [8], expected float32[batch, 8]"]),
    "width": ({"x": rows(2, 9)}, ["'x' has 9 in dimension 1, expected 8 (float32[batch, 8])"]),
    "too many": ({"x": rows(65)}, ["'x' has 65 in dimension 0, expected batch of 1 to 64"]),
    "none": ({"x": rows(0)}, ["'x' has 0 in dimension 0, expected batch of 1 to 64"]),
    "both": ({"x": rows(65, 9)}, ["'x' has 65 in dimension 0", "'x' has 9 in dimension 1"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_are_told_what_is_expected(mlp_model: Model, case: str) -> None:
    call, said = WRONG[case]
    for _ in range(2):  # what was seen to be right is remembered, what is wrong is not
        with pytest.raises(InputError) as raised:
            mlp_model.run(call)
        assert [part for part in said if part not in str(raised.value)] == []
        mlp_model.run(x=rows(2))


WRONG_WORDS: dict[str, tuple[Any, str]] = {
    "numbers": (np.array([[1.0], [2.0]], np.float32), "'word' has dtype float32, expected strings"),
    "bytes": (np.array([[b"red"], [b"blue"]]), "'word' has dtype |S4, expected strings"),
    "missing": (np.array([["red"], [None]], object), "'word' holds other objects than str, expected strings"),
    "rows": (np.array([["red"]]), "'number' has 2 in dimension 0 and 'word' has 1, but both are batch"),
}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_wrong_strings_are_told_what_is_expected(words: Model, case: str) -> None:
    word, said = WRONG_WORDS[case]
    words.run(word=np.array([["red"], ["blue"]], object), number=rows(2, 2))
    with pytest.raises(InputError) as raised:
        words.run(word=word, number=rows(2, 2))
    assert said in str(raised.value)


def test_steps_of_an_axis_are_told(delivered: Path) -> None:
    with pytest.raises(InputError, match="6 in dimension 0, expected batch of 4 to 8 in steps of 4"):
        load(delivered / "steady/default").run(x=rows(6, 4))


# Many rows


@pytest.mark.parametrize("double_buffer", [False, True])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_any_number_of_rows_runs(mlp_model: Model, delivered: Path, count: int, double_buffer: bool) -> None:
    x = rows(count)
    (expected,) = plain(delivered / "mlp/default").run(None, {"x": x})
    got = mlp_model.run_batches({"x": x}, double_buffer=double_buffer)["y"]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("double_buffer", [False, True])
def test_rows_come_in_pieces_as_well(mlp_model: Model, double_buffer: bool) -> None:
    x = rows(150)

    def pieces() -> Iterator[dict[str, np.ndarray]]:
        yield from ({"x": x[start : start + 70]} for start in range(0, 150, 70))

    got = mlp_model.run_batches(pieces(), double_buffer=double_buffer)
    whole = mlp_model.run_batches({"x": x})
    np.testing.assert_allclose(got["y"], whole["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("double_buffer", [False, True])
def test_pieces_may_be_made_in_one_array(
    mlp_model: Model, words: Model, monkeypatch: pytest.MonkeyPatch, double_buffer: bool
) -> None:
    """Each batch is computed only after the next piece was made, as a slow one would be."""
    x, word = rows(40), np.array([["red"], ["blue"], ["pink"], ["blue"]], object)
    whole = mlp_model.run_batches({"x": x})

    def pieces(arrays: dict[str, np.ndarray], size: int) -> Iterator[dict[str, np.ndarray]]:
        parts = {name: np.empty_like(array[:size]) for name, array in arrays.items()}
        for start in range(0, len(next(iter(arrays.values()))), size):
            for name, part in parts.items():
                part[:] = arrays[name][start : start + size]
            yield parts

    class Late:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> Late:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, call: Callable[..., Any], *given: object) -> Any:
            return type("Later", (), {"result": lambda _: call(*given)})()

    monkeypatch.setattr("onnxbuild.runtime.model.ThreadPoolExecutor", Late)
    got = mlp_model.run_batches(pieces({"x": x}, 10), double_buffer=double_buffer)
    np.testing.assert_allclose(got["y"], whole["y"], rtol=1e-5, atol=1e-6)
    made = pieces({"word": word, "number": rows(4, 2)}, 2)
    assert words.run_batches(made, double_buffer=double_buffer)["code"].ravel().tolist() == [1, 2, 0, 2]


@pytest.mark.parametrize("double_buffer", [False, True])
def test_strings_run_in_batches(words: Model, double_buffer: bool) -> None:
    word = np.array([["red"], ["blue"], ["pink"]] * 13, object)
    got = words.run_batches({"word": word, "number": rows(39, 2)}, double_buffer=double_buffer)
    assert got["code"].ravel().tolist() == [1, 2, 0] * 13
    np.testing.assert_array_equal(got["doubled"], 2 * rows(39, 2))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 9, 13, 16])
def test_rows_are_added_where_the_axis_asks_for_them(delivered: Path, count: int) -> None:
    x = rows(count, 4)
    got = load(delivered / "steady/default").run_batches({"x": x})["y"]
    np.testing.assert_array_equal(got, np.maximum(x, 0))


def test_rows_are_not_added_where_they_change_the_others(delivered: Path) -> None:
    model = load(delivered / "centred/default")
    model.run_batches({"x": rows(8, 4)})
    for _ in range(2):
        with pytest.raises(InputError, match="3 rows are fewer than the model takes, and rows cannot be added"):
            model.run_batches({"x": rows(3, 4)})


def test_wrong_rows_are_told(mlp_model: Model, words: Model) -> None:
    with pytest.raises(InputError, match="'x' has dtype float64, expected float32"):
        mlp_model.run_batches({"x": rows(100).astype(np.float64)})
    with pytest.raises(InputError, match="'x' must be a numpy array with batch as its first dimension"):
        mlp_model.run_batches({"x": 1.0})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="differ in their number of rows: 'word' 1, 'number' 3"):
        words.run_batches({"word": np.array([["red"]]), "number": rows(3, 2)})
    with pytest.raises(InputError, match="no piece"):
        mlp_model.run_batches([])
    with pytest.raises(InputError, match="the input 'x' is missing"):
        mlp_model.run_batches({"z": rows(3)})
    for given, said in ((rows(3), "a piece is a ndarray"), ([rows(3)], "a piece is a ndarray"), (None, "a NoneType")):
        with pytest.raises(InputError, match=f"{said}.* expected.* a mapping of arrays by the inputs' names"):
            mlp_model.run_batches(given)  # type: ignore[arg-type]


def test_outputs_without_the_batch_axis_are_not_joined(delivered: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(delivered / "mlp/default", tmp_path / "copy"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["outputs"][0]["shape"] = [1, 4]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"no dynamic axis comes first in the outputs \('x' float32\[batch, 8\]"):
        load(folder).run_batches({"x": rows(3)})


CUTS: list[tuple[int, Axis, list[int]]] = [
    (0, Axis(8), [1]),
    (17, Axis(8), [8, 8, 1]),
    (16, Axis(8), [8, 8]),
    (17, Axis(8, min=4), [8, 5, 4]),
    (2, Axis(8, min=4), [4]),
    (7, Axis(6, min=5), [6, 5]),
    (9, Axis(8, min=4, multiple_of=4), [8, 4]),
    (9, Axis(16, min=8, multiple_of=4), [12]),
    (17, Axis(16, min=8, multiple_of=4), [12, 8]),
    (3, Axis(8, min=0, multiple_of=4), [4]),
]


@pytest.mark.parametrize(("count", "axis", "sizes"), CUTS)
def test_cut(count: int, axis: Axis, sizes: list[int]) -> None:
    assert cut(count, axis) == sizes
    assert all(axis.takes(size) for size in sizes)
    assert sum(sizes) >= count
