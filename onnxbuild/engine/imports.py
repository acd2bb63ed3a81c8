"""What user code imports, and where modules of the project were looked for and not found; reads no file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType, FrameType, ModuleType

from onnxbuild.engine.journal import Journal, Sight
from onnxbuild.engine.territory import Territory

UNSEEN = frozenset(
    (
        *("av", "cv2", "decord", "duckdb", "lmdb", "netCDF4", "osgeo", "polars", "pyreadstat", "pyvips", "rasterio"),
        *("SimpleITK", "soundfile", "tables", "torchaudio", "torchcodec", "torchvision.io"),
    )
)
"""Modules that read files natively and are not in the table of native readers."""


class Imports(MetaPathFinder):
    """Stands before all finders: notes what user code imports, and tells `imported` of the modules in `wanted`."""

    def __init__(
        self, territory: Territory, journal: Journal, wanted: frozenset[str], imported: Callable[[ModuleType], None]
    ) -> None:
        self._territory, self._journal, self._wanted, self._imported = territory, journal, wanted, imported
        self.trusts_file = False

    def start(self, *, trusts_file: bool) -> None:
        """Begin; `trusts_file` tells that a pickle imports what it likes, without a line of user code."""
        self.trusts_file = trusts_file
        sys.meta_path.insert(0, self)
        sys.path_hooks.insert(0, self._project_finder)
        for path in [path for path in sys.path_importer_cache if self._territory.is_project_file(path)]:
            del sys.path_importer_cache[path]
        _compile_always(self._territory)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Note the import; find the module only when somebody wants to see it afterwards."""
        if self.is_by_user():
            self._journal.note(Sight.IMPORTED, fullname)
            if fullname in UNSEEN:
                self._journal.note(Sight.UNSEEN, f"reads with {fullname}")
        if fullname not in self._wanted:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._imported(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def is_by_user(self) -> bool:
        """Return whether user code is nearer on the stack than onnxbuild's own."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if file != __file__:
                if self._territory.is_project_file(file):
                    return True
                if self._territory.is_ours(file) and not file.endswith(_NOT_ASKING):
                    return self.trusts_file
            frame = frame.f_back
        return False

    def _is_direct(self) -> bool:
        """Return whether the import that is under way stands in the project's own code."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.startswith(_IMPORT_SYSTEM):
            frame = frame.f_back
        return frame is not None and self._territory.is_project_file(frame.f_code.co_filename)

    def _project_finder(self, path: str) -> FileFinder:
        if not self._territory.is_project_file(path):
            raise ImportError(path)
        return _ProjectFinder(path, self._note_miss)

    def _note_miss(self, fullname: str, path: str) -> None:
        name = self._territory.name(path)
        if name is not None:
            by = Sight.MISSED if self._is_direct() else Sight.PASSED
            self._journal.note(by, f"{fullname} {name}")


_NOT_ASKING = ("engine/audit.py", "engine/native_readers.py")
"""Code of ours that stands between user code and what it calls."""


_IMPORT_SYSTEM = ("<frozen importlib", importlib.__file__, __file__)


class _ProjectFinder(FileFinder):
    """Finds modules in one folder of the project and tells where none was."""

    def __init__(self, path: str, missed: Callable[[str, str], None]) -> None:
        super().__init__(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (SourceFileLoader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )
        self._missed = missed

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, target)
        base = f"{self.path}/{fullname.rpartition('.')[2]}"
        if spec is None:
            self._missed(fullname, base)
            self._missed(fullname, f"{base}.py")
        elif spec.loader is None:  # a namespace package
            self._missed(fullname, f"{base}/__init__.py")
            self._missed(fullname, f"{base}.py")
        elif spec.submodule_search_locations is None:
            self._missed(fullname, f"{base}/__init__.py")
        return spec


def _compile_always(territory: Territory) -> None:
    """Never run cached bytecode of what is an input by its content: it is held against its source by size and time."""
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if territory.name(path) is not None:
            code: CodeType = self.source_to_code(self.get_data(path), path)
            return code
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]
