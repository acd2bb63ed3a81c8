"""Sources of at least twenty layers, one for each framework, and a recipe for each; knows nothing of what is tested."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.project import ENVIRONMENT, Project

LAYERS = 20

TORCH = """\
import torch

GAIN = 0.5  # a constant of the secret recipe


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.attention = torch.nn.MultiheadAttention(width, 2, batch_first=True)
        self.wide = torch.nn.Linear(width, 2 * width)
        self.narrow = torch.nn.Linear(2 * width, width)

    def forward(self, x):
        near = self.norm(x)
        x = x + self.attention(near, near, near, need_weights=False)[0]
        return x + GAIN * self.narrow(torch.nn.functional.gelu(self.wide(x)))


def build(blocks):
    torch.manual_seed(0)
    return torch.nn.Sequential(*(Block(16) for _ in range(blocks)), torch.nn.Flatten(), torch.nn.Linear(64, 4))
"""
KERAS = """\
import keras


def build(depth):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = given = keras.Input((8, 8, 3), name="x")
    for _ in range(depth):
        y = layers.Conv2D(6, 3, padding="same")(x)
        y = layers.BatchNormalization()(y)
        y = layers.ReLU()(y)
        x = layers.Concatenate()([y, layers.Conv2D(2, 1)(x)])  # shortcut of the secret recipe
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, layers.Dense(4, activation="softmax")(x))
"""
SAVE = """\
import sys
sys.path.insert(0, "recipes")
import keras_net, tensorflow as tf
model = keras_net.build(10)
model.export("recipes/saved", format="tf_saved_model", verbose=False)
open("recipes/net.tflite", "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""
SKLEARN = """\
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, PolynomialFeatures, StandardScaler


def build(trees):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=200).astype("float32") for name in ("a", "b", "c")})
    frame["kind"] = rng.choice(["red", "green", "blue"], 200)
    wanted = (frame["a"] + frame["b"] > 0) * 1 + (frame["kind"] == "red")
    columns = ColumnTransformer([
        ("scaled", make_pipeline(StandardScaler(), MinMaxScaler(), PolynomialFeatures(2)), ["a", "b", "c"]),
        ("words", OneHotEncoder(), ["kind"]),
    ])
    forest = RandomForestClassifier(trees, max_depth=5, random_state=0)
    both = [("forest", forest), ("line", LogisticRegression(max_iter=500))]
    votes = VotingClassifier(both, voting="soft", flatten_transform=False)
    return make_pipeline(columns, votes).fit(frame, wanted)  # seed of the secret recipe
"""
FACE = """\
format: 1
inputs: {x: {dtype: float32, shape: [batch, %s]}}
outputs: [y]
dynamic_axes: {batch: {max: 8}}
tolerance: {outputs: {y: {max_abs: 1.0e+9}}}
"""
RECIPES = {
    "torch": FACE % "4, 16"
    + """\
source: {framework: torch, factory: torch_net.py:build, args: {blocks: 5}}
variants:
  plain: {}
  fused:
    passes: [onnxscript: optimize, transformers: {model_type: bert, num_heads: 2, hidden_size: 16}]
""",
    "keras": FACE % "8, 8, 3" + "source: {framework: keras, factory: keras_net.py:build, args: {depth: 10}}\n",
    "tensorflow": FACE % "8, 8, 3" + "source: {framework: tensorflow, path: saved}\n",
    "tflite": FACE % "8, 8, 3" + "source: {framework: tflite, path: net.tflite}\n",
    "sklearn": """\
format: 1
source: {framework: sklearn, factory: sklearn_net.py:build, args: {trees: 20}}
inputs:
  a: {dtype: float32, shape: [batch, 1]}
  b: {dtype: float32, shape: [batch, 1]}
  c: {dtype: float32, shape: [batch, 1]}
  kind: {dtype: string, shape: [batch, 1]}
outputs: {label: predict, y: predict_proba}
dynamic_axes: {batch: {max: 8}}
evaluation: {data: words.csv}
tolerance: {outputs: {y: {max_abs: 1.0e+9}}}
""",
    "onnx": FACE % "3, 16, 16"
    + """\
source: {framework: onnx, path: net.onnx}
evaluation: {data: {loader: load.py:calls, args: {count: 8}}}
calibration: {data: {loader: load.py:calls, args: {count: 12}}}
variants:
  onnxscript: {passes: [onnxscript: optimize]}
  onnxoptimizer: {passes: [onnxoptimizer: default]}
  onnxslim: {passes: [onnxslim: default]}
  onnxruntime: {passes: [onnxruntime: basic]}
  custom: {passes: [custom: {function: name.py:run}]}
  magnitude: {pruning: {method: magnitude, sparsity: 0.5, scope: global}}
  threshold: {pruning: {method: threshold, threshold: 0.2, min_sparsity: 0.1}}
  two-of-four: {pruning: {method: "2:4"}}
  dynamic: {quantization: {mode: dynamic}}
  minmax: {quantization: {mode: static, per_channel: true}}
  entropy: {quantization: {mode: static, calibrate: entropy, format: qoperator}}
  percentile: {quantization: {mode: static, calibrate: percentile}}
  distribution: {quantization: {mode: static, calibrate: distribution}}
  float16: {quantization: {mode: float16}}
  int4: {quantization: {mode: int4}}
  named: {package: {metadata: {team: kiosk, licence: MIT, site: north}}}
""",
}
LOADER = """\
import numpy as np


def calls(count):
    return {"x": np.random.default_rng(count).normal(size=(count, 3, 16, 16)).astype("float32")}
"""
PASS = """\
def run(model):
    model.graph.initializers["w0"].const_value.numpy()
    for node in model.graph:
        node.name = f"{node.name}/seen"
    return model
"""


def write_deep(project: Project, framework: str) -> None:
    """Write the source and the recipe for one framework; keras's comes with tensorflow and tflite."""
    project.recipe(framework, RECIPES[framework])
    match framework:
        case "torch":
            project.write("recipes/torch_net.py", TORCH)
        case "keras":
            project.write("recipes/keras_net.py", KERAS)
        case "tensorflow" | "tflite":
            project.write("recipes/keras_net.py", KERAS)
            subprocess.run(
                [sys.executable, "-c", SAVE], cwd=project.root, env=ENVIRONMENT, check=True, capture_output=True
            )
        case "sklearn":
            project.write("recipes/sklearn_net.py", SKLEARN)
            rows = "".join(f"{n / 7:.3f},{-n / 5:.3f},{n % 3},{('red', 'green', 'blue')[n % 3]}\n" for n in range(16))
            project.write("recipes/words.csv", "a,b,c,kind\n" + rows)
        case _:
            project.write("recipes/load.py", LOADER)
            project.write("recipes/name.py", PASS)
            onnx.save(deep_onnx(), project.root / "recipes/net.onnx")


def deep_onnx() -> onnx.ModelProto:
    """Return twenty convolutions with batch norms and activations, a shape computation and a head of MatMul."""
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}
    nodes, last, width = [], "x", 3
    for n in range(LAYERS):
        tensors[f"w{n}"] = rng.normal(scale=0.3, size=(8, width, 3, 3)).astype(np.float32)
        for part in ("scale", "bias", "mean"):
            tensors[f"{part}{n}"] = rng.random(8).astype(np.float32)
        tensors[f"var{n}"] = 1 + rng.random(8).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [last, f"w{n}"], [f"c{n}"], f"layer{n}/Conv", pads=[1, 1, 1, 1]),
            helper.make_node(
                "BatchNormalization",
                [f"c{n}", f"scale{n}", f"bias{n}", f"mean{n}", f"var{n}"],
                [f"n{n}"],
                f"layer{n}/BatchNormalization",
            ),
            helper.make_node("Relu", [f"n{n}"], [f"r{n}"], f"layer{n}/Relu"),
        ]
        last, width = f"r{n}", 8
    tensors["head"] = rng.normal(scale=0.1, size=(8 * 256, 64)).astype(np.float32)
    tensors["last"] = rng.normal(scale=0.1, size=(64, 4)).astype(np.float32)
    nodes += [
        helper.make_node("Identity", [last], ["same"], "same"),
        helper.make_node("Flatten", ["same"], ["flat"], "flat"),
        helper.make_node("MatMul", ["flat", "head"], ["hidden"], "head/MatMul"),
        helper.make_node("MatMul", ["hidden", "last"], ["y"], "last/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
