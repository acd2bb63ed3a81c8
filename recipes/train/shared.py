"""What every training script does besides training: the --out option, the model's factory, the files of data."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECIPES = Path(__file__).resolve().parents[1]


def output_folder(description: str) -> Path:
    """Return the folder of --out (default: recipes/), with its `models` and `data` folders made."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=RECIPES, help="folder for models/ and data/ (default: recipes/)")
    out: Path = parser.parse_args().out
    for name in ("models", "data"):
        (out / name).mkdir(parents=True, exist_ok=True)
    return out


def factory(name: str) -> Callable[..., Any]:
    """Return the function `build` of `models/<name>.py`, the one the recipe names."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / "models" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build  # type: ignore[no-any-return]  # a module's attributes have no type


def write_arrays(file: Path, **arrays: np.ndarray) -> None:
    """Write arrays to a compressed .npz; the same arrays give the same bytes."""
    np.savez_compressed(file, **arrays)


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose largest score is the label's."""
    return float(np.mean(scores.argmax(axis=-1) == labels))
