from __future__ import annotations

import pytest

from tests.recipe.builder import SMALLEST, ProjectFiles

MISSPELT = [
    ("sorce: {framework: torch}", 6, 1, "source"),
    ("opsett: 20", 6, 1, "opset"),
    ("ir-version: 10", 6, 1, "ir_version"),
    ("pases: []", 6, 1, "passes"),
    ("prunning: {method: magnitude, sparsity: 0.5}", 6, 1, "pruning"),
    ("pruning: {methd: magnitude, sparsity: 0.5}", 6, 11, "method"),
    ("pruning: {method: magnitude, sparcity: 0.5}", 6, 30, "sparsity"),
    ("calibrations: {data: {random: {}}}", 6, 1, "calibration"),
    ("calibration: {data: {random: {sed: 1}}}", 6, 31, "seed"),
    ("evalution: {data: {random: {}}}", 6, 1, "evaluation"),
    ("evaluation: {dat: {random: {}}}", 6, 14, "data"),
    ("quantisation: {mode: dynamic}", 6, 1, "quantization"),
    ("quantization: {mode: dynamic, weight: int8}", 6, 31, "weights"),
    ("quantization: {mode: dynamic, perchannel: true}", 6, 31, "per_channel"),
    ("tolerence: {outputs: {y: {atol: 1}}}", 6, 1, "tolerance"),
    ("tolerance: {output: {y: {atol: 1}}}", 6, 13, "outputs"),
    ("tolerance:\n  outputs:\n    y: {atoll: 1}", 8, 9, "atol"),
    ("provider: {cpu: {}}", 6, 1, "providers"),
    ("providers: {cpu: {tolerances: {outputs: {y: {atol: 1}}}}}", 6, 19, "tolerance"),
    ("session: {intra_op_thread: 1}", 6, 11, "intra_op_threads"),
    ("gate: {size: {at_most: 2 MB}}", 6, 1, "gates"),
    ("gates: {size: {atmost: 2 MB}}", 6, 16, "at_most"),
    ("package: {metadat: {team: a}}", 6, 11, "metadata"),
    ("strict_read: true", 6, 1, "strict_reads"),
    ("variant: {a: {}}", 6, 1, "variants"),
    ("variants:\n  a:\n    quantisation: {mode: dynamic}", 8, 5, "quantization"),
    ("passes:\n  - onnxslm: default", 7, 5, "onnxslim"),
    ("passes:\n  - custom: {functon: models/net.py:build}", 7, 14, "function"),
]


@pytest.mark.parametrize(("text", "line", "column", "meant"), MISSPELT, ids=[m[3] + f"@{m[2]}" for m in MISSPELT])
def test_a_misspelt_key_is_one_error_at_the_key(project: ProjectFiles, text: str, line: int, column: int, meant: str):
    base = SMALLEST
    if text.startswith("sorce"):
        base = SMALLEST.replace("source: {framework: torch, factory: models/net.py:build}", "")
        line, text = 2, "sorce: {framework: torch, factory: models/net.py:build}"
        base = base.replace("\n\n", f"\n{text}\n")
        text = ""
    project.recipe(base + text)
    assert project.places() == [("unknown-key", line, column)]
    found = project.only()
    assert found.hint == f"did you mean '{meant}'?"
    assert found.context is not None
    assert found.place is not None
    assert found.context[found.place.column - 1 :].startswith(found.message.split("'")[1])


def test_a_misspelt_key_inside_an_input_and_an_axis(project: ProjectFiles):
    project.recipe(
        """\
        format: 1
        source: {framwork: torch, factory: models/net.py:build}
        inputs: {x: {dtyp: float32, shap: [batch, 10]}}
        outputs: [y]
        dynamic_axes: {batch: {mx: 64}}
        """
    )
    assert project.places() == [
        ("unknown-key", 2, 10), ("unknown-key", 3, 14), ("unknown-key", 3, 29), ("unknown-key", 5, 24),
    ]  # fmt: skip


def test_an_error_below_a_misspelt_key_is_found_too(project: ProjectFiles):
    project.extend("tolerence: {outputs: {z: {atol: -1}}}\n")
    assert project.places() == [("unknown-key", 6, 1), ("wrong-value", 6, 33)]


def test_a_key_near_nothing_lists_what_there_is(project: ProjectFiles):
    project.extend("gates: {zzz: 1}\n")
    assert project.only().hint == "known keys: size, speed, latency, memory"


def test_everything_wrong_is_said_at_once(project: ProjectFiles):
    project.recipe(
        """\
        format: 1
        source: {framework: torch, factory: models/nett.py:build}
        inputs: {x: {dtype: float33, shape: [batch, 10]}, z: {dtype: float32, shape: [sequence]}}
        outputs: [y]
        dynamic_axes: {batch: {max: 64}}
        opset: 99
        tolerance: {outputs: {w: {atol: 1}}}
        evaluation: {data: data/none.npz, metric: acuracy}
        bogus: 1
        """
    )
    assert project.places() == [
        ("missing-path", 2, 37),
        ("wrong-value", 3, 21),
        ("impossible-opset", 6, 8),
        ("wrong-value", 8, 43),
        ("unknown-key", 9, 1),
    ]


def test_extension_keys_are_ignored_everywhere(project: ProjectFiles):
    project.extend("x-note: {anything: [goes]}\nsession: {x-why: because, intra_op_threads: 1}\n")
    assert project.target().session.intra_op_threads == 1


def test_an_input_may_be_called_like_an_extension(project: ProjectFiles):
    project.recipe(SMALLEST.replace("{x:", "{x-1:"))
    assert project.target().inputs[0].name == "x-1"
