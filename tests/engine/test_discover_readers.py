"""What the table of native readers shows of user code: one test a row."""

from __future__ import annotations

import pytest

from onnxbuild.engine.native_readers import READERS
from tests.engine.watching import Case, Seen, watch

ARROW = "import pyarrow as pa, numpy as np\nt = pa.table({'a': np.arange(3)})\n"
BOOST = "import numpy as np\nx, y = np.random.rand(40, 2), np.arange(40) % 2\n"
IDENTITY = """\
import onnx, numpy as np
from onnx import helper as h, numpy_helper as n
w = n.from_array(np.ones((1, 4), np.float32), 'w')
g = h.make_graph([h.make_node('Add', ['x', 'w'], ['y'])], 'g', [h.make_tensor_value_info('x', 1, [1, 4])],
                 [h.make_tensor_value_info('y', 1, [1, 4])], [w])
onnx.save(h.make_model(g, opset_imports=[h.make_opsetid('', 20)], ir_version=10), 'f', save_as_external_data=True,
          location='w.bin', size_threshold=0)
"""
MODULE = "import tensorflow as tf\nm = tf.Module()\nm.v = tf.Variable([1.0, 2.0])\n"
TFLITE = """\
import tensorflow as tf
m = tf.Module()
m.f = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec([1])])
open('f', 'wb').write(tf.lite.TFLiteConverter.from_concrete_functions([m.f.get_concrete_function()], m).convert())
"""
TENSORS = "import numpy as np\nfrom safetensors.numpy import save_file\nsave_file({'a': np.ones(3)}, 'f')"
TEXT = "open('f', 'w').write('1,2\\n3,4\\n')"

# By row: user code, what comes before it, what is found. What `f` and the others hold is of no interest.
ROWS: dict[str, tuple[str, str, set[str]]] = {
    "safetensors:safe_open": ("from safetensors import safe_open\nsafe_open('f', 'np')", TENSORS, {"f"}),
    "safetensors.torch:load_file": ("from safetensors.torch import load_file\nload_file('f')", TENSORS, {"f"}),
    "safetensors.numpy:load_file": ("import safetensors.numpy as s\ns.load_file('f')", TENSORS, {"f"}),
    "safetensors.tensorflow:load_file": (
        "import safetensors.tensorflow as s\ns.load_file(filename='f')",
        TENSORS,
        {"f"},
    ),
    "safetensors.torch:save_file": (
        "import torch, safetensors.torch as s\ns.save_file({'a': torch.ones(1)}, 'g')\nopen('g', 'rb')",
        "",
        set(),
    ),
    "safetensors.numpy:save_file": (
        "import numpy as np, safetensors.numpy as s\ns.save_file({'a': np.ones(1)}, filename='g')\nopen('g', 'rb')",
        "",
        set(),
    ),
    "h5py._hl.files:File.__init__": ("import h5py\nh5py.File('f')", "import h5py\nh5py.File('f', 'w').close()", {"f"}),
    "pyarrow:memory_map": ("import pyarrow\npyarrow.memory_map('f')", TEXT, {"f"}),
    "pyarrow.csv:read_csv": ("from pyarrow import csv\ncsv.read_csv('f')", TEXT, {"f"}),
    "pyarrow.csv:open_csv": ("from pyarrow import csv\ncsv.open_csv(input_file='f')", TEXT, {"f"}),
    "pyarrow.json:read_json": (
        "import pyarrow.json\npyarrow.json.read_json('f')",
        "open('f', 'w').write('{\"a\": 1}')",
        {"f"},
    ),
    "pyarrow.feather:read_table": (
        "from pyarrow.feather import read_table\nread_table('f')",
        f"{ARROW}import pyarrow.feather as w\nw.write_feather(t, 'f')",
        {"f"},
    ),
    "pyarrow.orc:read_table": (
        "from pyarrow import orc\norc.read_table('f')",
        f"{ARROW}import pyarrow.orc as w\nw.write_table(t, 'f')",
        {"f"},
    ),
    "pyarrow.orc:ORCFile.__init__": (
        "from pyarrow import orc\norc.ORCFile('f')",
        f"{ARROW}import pyarrow.orc as w\nw.write_table(t, 'f')",
        {"f"},
    ),
    "pyarrow.parquet.core:ParquetFile.__init__": (
        "import pyarrow.parquet as p\np.ParquetFile('f')",
        f"{ARROW}import pyarrow.parquet as w\nw.write_table(t, 'f')",
        {"f"},
    ),
    "pyarrow.parquet.core:ParquetDataset.__init__": (
        "import pandas\npandas.read_parquet('f')",
        f"{ARROW}import pyarrow.parquet as w\nw.write_table(t, 'f')",
        {"f"},
    ),
    "pyarrow.parquet.core:ParquetWriter.__init__": (
        f"{ARROW}import pyarrow.parquet as w\nw.write_table(t, 'g')\nopen('g', 'rb')",
        "",
        set(),
    ),
    "pyarrow.dataset:dataset": (
        "import pyarrow.dataset as d\nd.dataset('d').to_table()",
        f"{ARROW}import pyarrow.parquet as w, os\nos.mkdir('d')\nw.write_table(t, 'd/f.parquet')",
        {"d/f.parquet"},
    ),
    "torch.export:load": (
        "import torch\ntorch.export.load('f.pt2')",
        "import torch\ntorch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), 'f.pt2')",
        {"f.pt2"},
    ),
    "torch.jit._serialization:load": (
        "import torch\ntorch.jit.load('f')",
        "import torch\ntorch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), 'f')",
        {"f"},
    ),
    "torch:from_file": ("import torch\ntorch.from_file('f', size=2, dtype=torch.uint8)", TEXT, {"f"}),
    "onnx.checker:check_model": ("import onnx\nonnx.checker.check_model('f')", IDENTITY, {"f", "w.bin"}),
    "onnx.shape_inference:infer_shapes_path": (
        "import onnx.shape_inference as s\ns.infer_shapes_path('f', 'scratch/g')",
        IDENTITY,
        {"f", "w.bin"},
    ),
    "onnx.external_data_helper:load_external_data_for_model": ("import onnx\nonnx.load('f')", IDENTITY, {"f", "w.bin"}),
    "onnxruntime.capi.onnxruntime_inference_collection:InferenceSession.__init__": (
        "import onnxruntime as o\no.InferenceSession('f')",
        IDENTITY,
        {"f", "w.bin"},
    ),
    "lightgbm.basic:Booster.__init__": (
        "import lightgbm\nlightgbm.Booster(model_file='f')",
        f"{BOOST}import lightgbm as l\nl.train({{'verbose': -1}}, l.Dataset(x, y), 2).save_model('f')",
        {"f"},
    ),
    "lightgbm.basic:Dataset.__init__": (
        "import lightgbm\nlightgbm.Dataset('f', params={'verbose': -1}).construct()",
        "open('f', 'w').write(''.join(f'{i % 2},{i},{i * 3}\\n' for i in range(90)))",
        {"f"},
    ),
    "xgboost.core:Booster.load_model": (
        "import xgboost\nxgboost.Booster(model_file='f.json')",
        f"{BOOST}import xgboost as b\nb.train({{}}, b.DMatrix(x, y), 2).save_model('f.json')",
        {"f.json"},
    ),
    "xgboost.core:DMatrix.__init__": (
        "import xgboost\ntry:\n    xgboost.DMatrix('f?format=libsvm')\nexcept Exception:\n    pass",
        "open('f', 'w').write('1 0:1\\n')",
        {"f"},
    ),
    "tensorflow.python.lib.io.file_io:FileIO.__init__": (
        "import tensorflow as tf\ntf.io.gfile.GFile('f').read()",
        TEXT,
        {"f"},
    ),
    "tensorflow.python.lib.io.file_io:list_directory_v2": (
        "import tensorflow as tf\ntf.io.gfile.listdir('d')",
        "import os\nos.mkdir('d')",
        {"d"},
    ),
    "tensorflow.python.lib.io.file_io:get_matching_files_v2": (
        "import tensorflow as tf\ntf.io.gfile.glob('d/*')",
        "import os\nos.mkdir('d')\nopen('d/f', 'w')",
        {"d", "d/f"},
    ),
    "tensorflow.python.ops.io_ops:read_file": (
        "import tensorflow as tf\ntf.io.read_file(tf.constant('f'))",
        TEXT,
        {"f"},
    ),
    "tensorflow.python.saved_model.load:load": (
        "import tensorflow as tf\ntf.saved_model.load('d')",
        f"{MODULE}tf.saved_model.save(m, 'd')",
        {
            "d/saved_model.pb",
            "d/fingerprint.pb",
            "d/variables/variables.index",
            "d/variables/variables.data-00000-of-00001",
        },
    ),
    "tensorflow.python.training.py_checkpoint_reader:NewCheckpointReader": (
        "import tensorflow as tf\ntf.train.load_checkpoint('c')",
        f"{MODULE}tf.train.Checkpoint(m=m).write('c')",
        {"c.index", "c.data-00000-of-00001"},
    ),
    "tensorflow.python.data.ops.dataset_ops:DatasetV2.list_files": (
        "import tensorflow as tf\nlist(tf.data.Dataset.list_files('d/*'))",
        "import os\nos.mkdir('d')\nopen('d/f', 'w')",
        {"d", "d/f"},
    ),
    "tensorflow.python.data.ops.dataset_ops:DatasetV2.load": (
        "import tensorflow as tf\nlist(tf.data.Dataset.load('d'))",
        "import tensorflow as tf\ntf.data.Dataset.range(3).save('d')",
        {"d/dataset_spec.pb", "d/snapshot.metadata"},
    ),
    "tensorflow.python.data.ops.readers:TextLineDatasetV2.__init__": (
        "import tensorflow as tf\nlist(tf.data.TextLineDataset(['f', 'g']))",
        f"{TEXT}\nopen('g', 'w')",
        {"f", "g"},
    ),
    "tensorflow.python.data.ops.readers:TFRecordDatasetV2.__init__": (
        "import tensorflow as tf\nlist(tf.data.TFRecordDataset(tf.constant(['f'])))",
        "open('f', 'w')",
        {"f"},
    ),
    "tensorflow.python.data.ops.readers:FixedLengthRecordDatasetV2.__init__": (
        "import tensorflow as tf\nlist(tf.data.FixedLengthRecordDataset('f', 1))",
        TEXT,
        {"f"},
    ),
    "tensorflow.python.data.experimental.ops.readers:CsvDatasetV2.__init__": (
        "import tensorflow as tf\nlist(tf.data.experimental.CsvDataset('f', [0, 0]))",
        TEXT,
        {"f"},
    ),
    "tensorflow.lite.python.interpreter:Interpreter.__init__": (
        "import tensorflow as tf\ntf.lite.Interpreter('f')",
        TFLITE,
        {"f"},
    ),
    "ai_edge_litert.interpreter:Interpreter.__init__": (
        "from ai_edge_litert.interpreter import Interpreter\nInterpreter(model_path='f')",
        TFLITE,
        {"f"},
    ),
    "multiprocessing.popen_spawn_posix:Popen._launch": (
        "import multiprocessing as m\np = m.get_context('spawn').Process(target=print)\np.start()\np.join()",
        "",
        set(),
    ),
    "multiprocessing.popen_forkserver:Popen._launch": (
        "import multiprocessing as m\np = m.get_context('forkserver').Process(target=print)\np.start()\np.join()",
        "",
        set(),
    ),
}

PROCESSES = {name for name in ROWS if name.startswith("multiprocessing")}
GROUPS = {
    "torch": ("torch", {n for n in ROWS if n.startswith("torch") or "safetensors.torch" in n}),
    "tensorflow": (
        "tensorflow",
        {n for n in ROWS if n.startswith(("tensorflow", "ai_edge")) or "safetensors.tensorflow" in n},
    ),
}
GROUPS["light"] = ("", set(ROWS) - GROUPS["torch"][1] - GROUPS["tensorflow"][1])
"""Rows that share an interpreter, with the library that it imports before they fork."""


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Seen]]:
    """What was seen, by group: filled when first asked for."""
    return {}


@pytest.fixture
def seen(row: str, groups: dict[str, dict[str, Seen]], tmp_path_factory: pytest.TempPathFactory) -> Seen:
    group = next(group for group, (_, names) in GROUPS.items() if row in names)
    library, names = GROUPS[group]
    if library:
        pytest.importorskip(library)
    if group not in groups:
        cases = [Case(name.replace(":", "-"), *ROWS[name][:2]) for name in sorted(names)]
        groups[group] = watch(tmp_path_factory.mktemp(group), cases, preload=[library] if library else [])
    return groups[group][row.replace(":", "-")]


def test_every_row_is_tried() -> None:
    assert set(ROWS) == {f"{row.module}:{row.name}" for row in READERS}


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str, seen: Seen) -> None:
    if row.partition(".")[0] in ("lightgbm", "xgboost", "pyarrow", "h5py"):
        pytest.importorskip(row.partition(".")[0])
    assert seen.failure is None, seen.failure
    assert seen.files | seen.names("folder") - {"."} >= ROWS[row][2]
    if not ROWS[row][2] and row not in PROCESSES:
        assert seen.files == set()
        assert seen.codes == {"written-and-read"}
    elif row in PROCESSES:
        assert "another Python interpreter" in seen.text("unseen-reads")
    else:
        assert seen.codes == set()
