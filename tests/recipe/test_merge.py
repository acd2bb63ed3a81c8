from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.base.diagnostics import Place
from onnxbuild.recipe.merge import merge
from onnxbuild.recipe.node import Entry, Node, find, plain, walk
from onnxbuild.recipe.types import Bound, OutputTolerance, Tolerance
from tests.recipe.builder import SMALLEST, ProjectFiles

NOWHERE = Place("a", 1, 1)


def tree(value: object) -> Node:
    if isinstance(value, dict):
        return Node({key: Entry(NOWHERE, tree(inner)) for key, inner in value.items()}, NOWHERE)
    if isinstance(value, list):
        return Node([tree(inner) for inner in value], NOWHERE)
    return Node(value, NOWHERE)  # type: ignore[arg-type]


def merged(base: object, over: object) -> object:
    return plain(merge(tree(base), tree(over)))


def test_mappings_merge_by_key_and_keep_the_inherited_order():
    assert list(merged({"a": 1, "b": {"x": 1, "y": 2}}, {"c": 3, "b": {"y": 5}, "a": 2}).items()) == [
        ("a", 2), ("b", {"x": 1, "y": 5}), ("c", 3),
    ]  # fmt: skip


def test_lists_and_scalars_are_replaced():
    assert merged({"a": [1, 2], "b": {"x": 1}}, {"a": [3], "b": 5}) == {"a": [3], "b": 5}


def test_null_removes_and_removing_nothing_is_nothing():
    assert merged({"a": 1, "b": {"x": 1, "y": 1}}, {"a": None, "b": {"x": None}, "c": None}) == {"b": {"y": 1}}


def test_null_inside_a_new_mapping_is_no_key():
    assert merged({}, {"a": {"b": None, "c": 1}}) == {"a": {"c": 1}}


def test_a_null_argument_is_a_value_unless_it_removes_one():
    assert merged({"args": {"a": 1}}, {"args": {"a": None, "b": None}}) == {"args": {"b": None}}


def test_alternatives_displace_each_other():
    assert merged({"at_least": 1}, {"max_drop": 2}) == {"max_drop": 2}
    assert merged({"max_drop": 1}, {"at_most": 2}) == {"at_most": 2}
    factory = {"framework": "torch", "factory": "a.py:b", "args": {"x": 1}, "weights": "w", "sha256": "0"}
    assert merged(factory, {"path": "m.pt2"}) == {"framework": "torch", "path": "m.pt2"}
    assert merged({"path": "m", "sha256": "0", "trust": "pickle", "signature": "s"}, {"factory": "a.py:b"}) == {
        "factory": "a.py:b"
    }
    assert merged({"loader": "a.py:b", "args": {"n": 1}}, {"random": {}}) == {"random": {}}


def test_arguments_called_like_alternatives_do_not_displace():
    assert merged({"args": {"path": "a", "factory": "b"}}, {"args": {"factory": "c"}}) == {
        "args": {"path": "a", "factory": "c"}
    }


values = st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
layers = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(layers, layers)
def test_all_that_is_laid_over_stands_and_nothing_else_is_lost(base: object, over: object):
    result = tree(merged(base, over))
    for path, node in walk(tree(over)):
        if not node.entries:
            found = find(result, path)
            assert found is not None
            assert found.value == node.value or not isinstance(node.value, int)
    untouched = set(base) - set(over)  # type: ignore[call-overload]
    assert {key: plain(result)[key] for key in untouched} == {key: base[key] for key in untouched}  # type: ignore[index]
    assert merged(over, over) == over


def test_defaults_then_recipe_then_variant(project: ProjectFiles):
    project.write("onnxbuild.yaml", "defaults:\n  opset: 17\n  session: {intra_op_threads: 1, cpu_arena: false}\n")
    project.extend("session: {intra_op_threads: 2}\nvariants:\n  a: {}\n  b: {opset: 18, session: {cpu_arena: null}}\n")
    a, b = project.target("a"), project.target("b")
    assert (a.opset, a.session.intra_op_threads, a.session.cpu_arena) == (17, 2, False)
    assert (b.opset, b.session.intra_op_threads, b.session.cpu_arena) == (18, 2, None)


def test_paths_of_defaults_are_relative_to_their_own_file(project: ProjectFiles):
    project.write("onnxbuild.yaml", "defaults: {evaluation: {data: {loader: load.py:rows}}}\n")
    project.write("load.py", "rows = None\n")
    project.extend("")
    target = project.target()
    assert target.evaluation is not None
    assert target.evaluation.data.function.file == "../load.py"  # type: ignore[union-attr]


def test_an_error_points_at_the_line_that_wrote_the_value(project: ProjectFiles):
    project.write("onnxbuild.yaml", "jobs: 2\ndefaults:\n  opset: 99\n")
    project.extend("variants:\n  a: {}\n  b: {opset: 98}\n  c: {opset: 20}\n")
    places = [str(d.place) for d in project.found() if d.code == "impossible-opset"]
    assert places == ["onnxbuild.yaml:3:10", "recipes/a.yaml:8:14"]


def test_a_wrong_default_is_said_once_with_the_recipes_it_is_wrong_in_and_its_path_as_written(project: ProjectFiles):
    project.write("onnxbuild.yaml", "defaults:\n  calibration: {data: d/rows.npz}\n  opset: 99\n")
    project.write("recipes/d/rows.npz", "there")
    project.recipe(SMALLEST, "a.yaml")
    project.recipe(SMALLEST, "b.yaml")
    missing, opset = project.found()
    assert (missing.code, str(missing.place)) == ("missing-path", "onnxbuild.yaml:2:23")
    assert missing.message == "there is no file or folder 'd/rows.npz' beside onnxbuild.yaml"
    assert missing.hint == "paths in onnxbuild.yaml start from its own folder: recipes/d/rows.npz"
    assert (missing.context, opset.context) == ("  calibration: {data: d/rows.npz}", "  opset: 99")
    for one in (missing, opset):
        assert one.note is not None
        assert one.note.startswith("as a default of recipes/a.yaml and 1 more; ")


def test_an_error_in_a_shared_line_is_said_once(project: ProjectFiles):
    project.extend("opset: 99\nvariants: {a: {}, b: {}, c: {}}\n")
    assert project.places() == [("impossible-opset", 6, 8)]


def test_the_default_tolerance_and_what_switches_it_off(project: ProjectFiles):
    default = {"y": OutputTolerance(atol=1e-4, rtol=1e-3)}
    project.extend("")
    assert project.target().tolerance == Tolerance(outputs=default)
    project.write("recipes/d.npz", b"")
    evaluation = "evaluation: {data: {loader: models/net.py:build}, metric: accuracy}\n"
    project.extend(evaluation + "tolerance: {metric: {at_least: 99%  of  source}}\n")
    bound = Bound(kind="at_least", value=0.99, of="source", text="at least 99% of source")
    assert project.target().tolerance == Tolerance(outputs={}, metric=bound)
    project.extend(evaluation + "tolerance: {metric: {max_drop: 0.005}}\nvariants:\n  a: {tolerance: {metric: null}}\n")
    assert project.target("a").tolerance == Tolerance(outputs=default)
    project.extend("tolerance: {outputs: {y: {max_abs: 1}}}\n")
    assert project.target().tolerance == Tolerance(outputs={"y": OutputTolerance(max_abs=1)})


def test_the_provider_tolerance_is_merged_over_the_targets(project: ProjectFiles):
    project.extend(
        """\
        tolerance: {outputs: {y: {atol: 1.0e-3, cosine: 0.9}}}
        providers: {cpu: {tolerance: {outputs: {y: {atol: 2.0e-3, cosine: null}}}}}
        variants:
          a: {}
          b: {providers: {cpu: {tolerance: null}}}
          c: {tolerance: {outputs: {y: {rtol: 0.1}}}}
        """
    )
    assert project.target("a").tolerance.outputs["y"] == OutputTolerance(atol=1e-3, cosine=0.9)
    (cpu,) = project.target("a").providers
    assert cpu.tolerance.outputs["y"] == OutputTolerance(atol=2e-3)
    assert project.target("b").providers[0].tolerance.outputs["y"] == OutputTolerance(atol=1e-3, cosine=0.9)
    assert project.target("c").providers[0].tolerance.outputs["y"] == OutputTolerance(atol=2e-3, rtol=0.1)


def test_what_the_mode_does_not_use_reaches_no_target(project: ProjectFiles):
    project.extend(
        """\
        quantization: {mode: static, weights: uint8, format: qoperator, per_channel: true, calibrate: entropy}
        calibration: {data: {random: {}}}
        pruning: {method: magnitude, sparsity: 0.5, scope: global, threshold: 0.1, min_sparsity: 0.9}
        variants:
          static: {}
          half: {quantization: {mode: float16}, pruning: {method: "2:4"}}
          none: {quantization: {mode: none}, pruning: null}
        """
    )
    half = project.target("half")
    assert half.quantization is not None
    assert half.quantization == type(half.quantization)(mode="float16")
    assert half.pruning is not None
    assert half.pruning == type(half.pruning)(method="n:m", n=2, m=4)
    assert project.target("none").quantization is None
    assert project.target("none").pruning is None
    static = project.target("static").quantization
    assert static is not None
    assert (static.weights, static.format, static.calibrate, static.per_channel) == (
        "uint8", "qoperator", "entropy", True,
    )  # fmt: skip


def test_int4_is_written_in_the_way_its_opset_allows(project: ProjectFiles):
    project.extend("quantization: {mode: int4}\nvariants:\n  a: {}\n  b: {opset: 21}\n")
    formats = [project.target(name).quantization.format for name in "ab"]  # type: ignore[union-attr]
    assert formats == ["qoperator", "qdq"]


def test_a_variant_cannot_hold_what_belongs_to_the_recipe(project: ProjectFiles):
    project.extend("variants:\n  a: {name: b, opset: 20}\n  b:\n    source: {framework: onnx}\n    format: 1\n")
    assert project.places() == [("not-in-variant", 7, 7), ("not-in-variant", 9, 5), ("not-in-variant", 10, 5)]


def test_the_size_gate_does_not_apply_to_the_variant_it_names(project: ProjectFiles):
    project.extend("gates: {size: {at_most: 30% of fp32}}\nvariants: {fp32: {}, int8: null}\n")
    assert project.target("fp32").size is None
    size = Bound(kind="at_most", value=0.3, of="fp32", text="at most 30% of fp32")
    assert project.target("int8").size == size
    project.extend("gates: {size: {at_most: 1.5 MB}}\n")
    assert project.target().size == Bound(kind="at_most", value=1_500_000, text="at most 1.5 MB")


def test_the_whole_smallest_recipe(project: ProjectFiles):
    project.recipe(SMALLEST)
    target = project.target()
    assert (target.name, target.file, target.folder) == ("a:default", "recipes/a.yaml", "recipes")
    assert (target.opset, target.ir_version, target.quantization, target.pruning) == (20, None, None, None)
    assert [p.name for p in target.providers] == ["cpu"]
    assert str(target.places["dynamic_axes.batch.max"]) == "recipes/a.yaml:5:29"
    assert str(target.places["inputs"]) == "recipes/a.yaml:3:1"
