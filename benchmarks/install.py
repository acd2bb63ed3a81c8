"""A plain, non-editable install of this checkout in an environment of its own, which shares the libraries of this one.

An editable install starts more slowly than the whole no-op takes, so figures taken in one mean nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def install(folder: Path) -> Path:
    """Build the wheel, install it below `folder` and return that environment's folder of programs."""
    source = folder / "source"
    source.mkdir(parents=True)
    shutil.copytree(ROOT / "onnxbuild", source / "onnxbuild", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    environment = folder / "venv"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheels", source], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    programs = environment / "bin"
    wheel = next((folder / "wheels").glob("*.whl"))
    subprocess.run([*pip, "--python", programs / "python", "install", "--no-deps", wheel], check=True)
    libraries = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    Path(libraries, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs
