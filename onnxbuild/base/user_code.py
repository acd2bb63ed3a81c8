"""Loading and calling the Python functions that a recipe names, with tracebacks cut to the user's own frames.

Knows nothing of processes: the engine has set the working directory, `sys.path` and the environment before.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from onnxbuild.base.diagnostics import StageFailure

_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def load_function(file: Path, name: str) -> Callable[..., Any]:
    """Import `file` as a module named by its stem and return its function `name`.

    Where a library has that name already (`random.py`, `onnx.py`), the module gets another: the library stays whole.

    Raises StageFailure (`user-code`) with the user's traceback when the import raises, or when the name is
    not there or is not callable.
    """
    with user_frames(f"importing {file.name}"):
        module = _import(file)
    try:
        function = getattr(module, name)
    except AttributeError:
        raise StageFailure("user-code", f"{file.name} has no function '{name}'") from None
    if not callable(function):
        raise StageFailure("user-code", f"'{name}' in {file.name} is not a function")
    return function  # type: ignore[no-any-return]  # callable() narrows to an unnamed callable


@contextmanager
def user_frames(doing: str) -> Iterator[None]:
    """Turn any exception of user code into a StageFailure whose traceback starts at the user's first frame."""
    try:
        yield
    except StageFailure:
        raise
    except (Exception, SystemExit) as error:
        text = _as_text(_traceback_from_user(error))
        summary = _as_text("".join(traceback.format_exception_only(error)).strip())
        raise StageFailure("user-code", f"{doing} raised {summary}", traceback=text) from None


def _import(file: Path) -> ModuleType:
    name = file.stem
    while (known := sys.modules.get(name)) is not None:
        if Path(getattr(known, "__file__", None) or "").resolve() == file.resolve():
            return known
        name = f"recipe_{name}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _traceback_from_user(error: BaseException) -> str:
    frame = _first_frame(error.__traceback__, _is_user) or _first_frame(error.__traceback__, _is_not_ours)
    if frame is None:
        return "".join(traceback.format_exception_only(error))
    told = traceback.TracebackException(type(error), error.with_traceback(frame), frame)
    cause: traceback.TracebackException | None = told
    while cause is not None:  # where a library's function is heard, a frame of ours lies between
        cause.stack = traceback.StackSummary.from_list([f for f in cause.stack if _is_not_ours(f.filename)])
        cause = cause.__cause__ or cause.__context__
    return "".join(told.format())


def _as_text(said: str) -> str:
    """Return what was said as text that can be written: the name of a file may be no UTF-8."""
    return said.encode("utf-8", "backslashreplace").decode()


def _first_frame(frame: TracebackType | None, wanted: Callable[[str], bool]) -> TracebackType | None:
    while frame is not None and not wanted(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return frame


def _is_not_ours(file: str) -> bool:
    return not file.startswith((_OURS, "<frozen importlib"))


def _is_user(file: str) -> bool:
    """Return whether a file is neither ours nor a library's: a framework that calls the user's code is no news."""
    return _is_not_ours(file) and not file.startswith((*_LIBRARIES, "<"))
