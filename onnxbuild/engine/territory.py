"""Where a file lies: in the project, outside it, or where nobody's inputs are; knows no action and opens nothing."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable

import onnxbuild

_SYSTEM = (
    *("/proc", "/sys", "/dev", "/etc", "/run", "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/snap"),
    *("/nix/store", "/var/lib", "/var/cache", "/var/run"),
    *("/System", "/Library", "/Applications", "/private/etc", "/private/var/db"),
)

_OURS = os.path.dirname(os.path.abspath(onnxbuild.__file__))

_LIBRARIES = (sys.prefix, sys.exec_prefix, sys.base_prefix, *sysconfig.get_paths().values(), _OURS)

_SETTINGS = (
    *(".config", ".fonts", ".local/share/fonts", ".cache/fontconfig", ".cache/matplotlib"),
    *(".keras/keras.json", ".netrc", ".nv", ".triton"),
)
"""Below the home folder: what libraries look up for themselves. Caches of model hubs are not among them."""

PACKAGES = frozenset({"site-packages", "dist-packages"})
"""Folders of these names hold installed packages, which are inputs by their versions."""


class Territory:
    """Names files relative to one project; `hidden` are folders whose files are never inputs.

    The project may be reached by a symbolic link and by its real path: a file has one name.
    """

    def __init__(self, project: str, hidden: Iterable[str]) -> None:
        self.project = project
        self._bases = tuple(dict.fromkeys((project, os.path.realpath(project))))
        nobodys = {*hidden, *_LIBRARIES, *_SYSTEM, *(os.path.expanduser(f"~/{name}") for name in _SETTINGS)}
        nobodys |= {os.path.realpath(folder) for folder in nobodys}
        inside = {name for folder in nobodys if (name := self._inside(folder)) not in (None, ".")}
        self._hidden = tuple(f"{name}/" for name in inside)
        self._nobodys = tuple(f"{folder}/" for folder in nobodys if folder != "/")

    def name(self, path: str) -> str | None:
        """Return a file's name relative to the project, beginning with `../` when it is outside; None: no input."""
        absolute = os.path.abspath(path)
        inside = self._inside(absolute)
        if inside is not None:
            return None if f"{inside}/".startswith(self._hidden) else inside
        if f"{absolute}/".startswith(self._nobodys) or not PACKAGES.isdisjoint(absolute.split("/")):
            return None
        return self.relative(absolute)

    def relative(self, absolute: str) -> str:
        """Return the name of a file outside the project."""
        return os.path.relpath(absolute, self._bases[-1])

    def is_project_file(self, file: str) -> bool:
        """Return whether code in `file` is the project's own."""
        inside = self._inside(file)
        return inside is not None and not f"{inside}/".startswith(self._hidden)

    def is_ours(self, file: str) -> bool:
        """Return whether code in `file` is onnxbuild's."""
        return file.startswith(_OURS)

    def path(self, name: str) -> str:
        """Return the absolute path of a file by its name."""
        return os.path.normpath(os.path.join(self._bases[-1] if is_outside(name) else self.project, name))

    def _inside(self, absolute: str) -> str | None:
        for base in self._bases:
            if absolute == base:
                return "."
            if absolute.startswith(f"{base}/"):
                return absolute[len(base) + 1 :]
        return None


def is_outside(name: str) -> bool:
    """Return whether a name relative to the project is that of a file outside it."""
    return name == ".." or name.startswith("../")
