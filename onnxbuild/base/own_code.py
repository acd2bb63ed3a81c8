"""The files that tell one state of onnxbuild's own code from another; knows nothing of what they hold."""

from __future__ import annotations

from pathlib import Path

import onnxbuild
from onnxbuild.base.digest import list_files


def own_files() -> list[str]:
    """Return the record of the installed package, or all files of a checkout."""
    package = Path(onnxbuild.__file__).parent
    description = package.parent / f"onnxbuild-{onnxbuild.__version__}.dist-info"
    if (description / "RECORD").is_file():
        return [str(description / "METADATA"), str(description / "RECORD")]
    return [str(package / name) for name in list_files(package)]
