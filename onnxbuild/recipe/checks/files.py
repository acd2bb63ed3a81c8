"""What a recipe names on disk: is it there, is it what it should be, is it the pinned one; runs no user code."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Place, did_you_mean
from onnxbuild.base.digest import digest_bytes, digest_file, list_files
from onnxbuild.recipe.checks.data import DataProblem, check_data
from onnxbuild.recipe.checks.python import FunctionNames, PythonError, read_names
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.node import Path as Steps
from onnxbuild.recipe.project import FILE
from onnxbuild.recipe.types import CustomPass, FileData, Framework, Function, LoaderData, Target
from onnxbuild.recipe.wording import is_url

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


@dataclass
class FileChecks:
    """Checks of targets against one project's files; each file is read once, however many targets name it."""

    root: Path
    seen: dict[str, None] = field(default_factory=dict)
    """The files and folders that were looked at since `begin`, relative to the project, there or not."""
    globs: dict[str, None] = field(default_factory=dict)
    """The globs that were tried since `begin`, relative to the project."""
    _digests: dict[Path, str] = field(default_factory=dict)
    _names: dict[Path, FunctionNames | PythonError] = field(default_factory=dict)
    _data: dict[tuple[object, ...], tuple[DataProblem, ...]] = field(default_factory=dict)
    _sound: Collection[str] = ()

    def begin(self, sound: Collection[str] = ()) -> None:
        """Forget what was looked at, for another recipe; `sound` is what nothing was wrong with and has not changed."""
        self.seen, self.globs = {}, {}
        self._sound = sound

    def check(self, draft: Draft, target: Target, broken: Collection[str]) -> None:
        """Note everything that is wrong with the files of a target, less those of `broken` sections."""
        if "source" not in broken:
            self._check_source(draft, target)
        for function, steps in _functions(target):
            if steps[0] not in broken:
                self._check_function(draft, target, function, steps)
        for section in ("calibration", "evaluation"):
            if broken and not {section, "inputs", "dynamic_axes", "source"}.isdisjoint(broken):
                continue
            self._check_data(draft, target, section)

    def find(self, draft: Draft, target: Target, text: str, steps: Steps, *, what: str = "file") -> Path | None:
        """Return where a path of the recipe leads, or None after noting why it leads nowhere useful."""
        place, section = draft.value(*steps), str(steps[0])
        if is_url(text):
            hint = "download it and write its path"
            draft.error("url-as-path", f"'{text}' is a URL; a recipe names files", place, section, hint=hint)
            return None
        if text.startswith(("/", "~", "\\")) or text[1:3] in (":\\", ":/"):
            note = "it would be another file on another machine"
            hint = f"paths are relative to {target.folder}/"
            draft.error("absolute-path", f"'{text}' is an absolute path", place, section, note=note, hint=hint)
            return None
        path = self.root / target.folder / text
        self.seen[self._name(target, text)] = None
        try:
            there = path.exists()
        except (OSError, ValueError):  # a name the file system refuses
            there = False
        if not there:
            inherited, written = place.file == FILE, _as_written(target, text, place)
            where = f"beside {FILE}" if inherited else f"in {target.folder}/"
            nearest = _near(path)
            if inherited and (self.root / target.folder / written).exists():
                nearest = f"paths in {FILE} start from its own folder: {target.folder}/{written}"
            draft.error("missing-path", f"there is no {what} '{written}' {where}", place, section, hint=nearest)
            return None
        if path.is_file() and is_lfs_pointer(path):
            message = f"'{text}' is a Git LFS pointer, not the file itself"
            draft.error("git-lfs-pointer", message, place, section, hint="git lfs pull")
            return None
        return path

    def _name(self, target: Target, text: str) -> str:
        return f"{target.folder}/{text}" if target.folder else text

    def _check_source(self, draft: Draft, target: Target) -> None:
        source = target.source
        for key, text in (("weights", source.weights), ("path", source.path)):
            if text is None:
                continue
            path = self.find(draft, target, text, ("source", key))
            if path is None:
                continue
            place = draft.value("source", key)
            is_folder = key == "path" and source.framework is Framework.TENSORFLOW
            if is_folder and not any((path / name).is_file() for name in SAVED_MODEL_FILES):
                message = f"'{text}' is no SavedModel folder: it holds no saved_model.pb"
                draft.error("wrong-kind", message, place, "source")
            elif not is_folder and not path.is_file():
                draft.error("wrong-kind", f"'{text}' is a folder, not a file", place, "source")
            elif path.is_file() and path.stat().st_size == 0:
                draft.error("empty-file", f"'{text}' is empty", place, "source")
            elif source.sha256 is not None:
                self._check_pin(draft, path, text, source.sha256)
        for index, pattern in enumerate(source.reads):
            self._check_glob(draft, target, pattern, draft.value("source", "reads", index))

    def _check_pin(self, draft: Draft, path: Path, text: str, pin: str) -> None:
        if path not in self._digests:
            self._digests[path] = digest_of(path)
        actual = self._digests[path]
        if actual != pin:
            message = f"'{text}' is not the file that `sha256` pins"
            hint = f"if the new file is meant: sha256: {actual}"
            draft.error("wrong-digest", message, draft.value("source", "sha256"), "source", note=f"it has {actual}",
                        hint=hint)  # fmt: skip

    def _check_glob(self, draft: Draft, target: Target, pattern: str, place: Place) -> None:
        if is_url(pattern) or pattern.startswith(("/", "~")):
            draft.error("absolute-path", f"'{pattern}' is no path relative to {target.folder}/", place, "source")
            return
        self.globs[f"{target.folder}/{pattern}" if target.folder else pattern] = None
        try:
            hit = next(iter((self.root / target.folder).glob(pattern)), None)
        except (ValueError, NotImplementedError, OSError) as error:
            draft.error("wrong-value", f"'{pattern}' is no glob: {error}", place, "source")
            return
        if hit is None:
            draft.error("missing-path", f"no file matches '{pattern}' in {target.folder}/", place, "source")

    def _check_function(self, draft: Draft, target: Target, function: Function, steps: Steps) -> None:
        path = self.find(draft, target, function.file, steps, what="Python file")
        if path is None:
            return
        if path not in self._names:
            self._names[path] = read_names(path)
        names, place, section = self._names[path], draft.value(*steps), str(steps[0])
        if isinstance(names, PythonError):
            message = f"{function.file} is not Python that can be read: {names.message}"
            file = _relative(path, self.root)
            if names.line is not None:
                draft.problems.add_text(file, names.text)
                place = Place(file, names.line, names.column or 1)
            draft.error("python-syntax", message, place, section)
        elif not names.may_hold(function.name):
            hint = did_you_mean(function.name, sorted(names.names))
            if hint is None and names.names:
                hint = f"it defines {', '.join(sorted(names.names)[:8])}"
            message = f"{function.file} defines no '{function.name}'"
            draft.error("missing-function", message, place, section, hint=hint)

    def _check_data(self, draft: Draft, target: Target, section: str) -> None:
        given = target.calibration if section == "calibration" else target.evaluation
        if given is None or not isinstance(given.data, FileData):
            return
        evaluation = target.evaluation
        labels = None
        if section == "evaluation" and evaluation is not None and evaluation.metric is not None:
            labels = evaluation.labels
        place = draft.value(section, "data")
        allows_nan = target.source.framework is Framework.SKLEARN
        path = self.find(draft, target, given.data.path, (section, "data"), what="file or folder")
        if path is None:
            return
        key = (path, target.inputs, tuple(target.dynamic_axes.items()), labels, allows_nan)
        if self._name(target, given.data.path) in self._sound:
            self._data.setdefault(key, ())  # the arrays were read for this very recipe
        if key not in self._data:
            self._data[key] = tuple(check_data(path, target.inputs, target.dynamic_axes, labels, allows_nan=allows_nan))
        labels_place = draft.value(section, "labels") if draft.has(section, "labels") else place
        for problem in self._data[key]:
            where = labels_place if problem.about_labels else place
            message = f"'{_as_written(target, given.data.path, place)}': {problem.message}"
            draft.error(problem.code, message, where, section, hint=problem.hint)


def _functions(target: Target) -> list[tuple[Function, Steps]]:
    """Return every function that the target names, with the way to where it is written."""
    found: list[tuple[Function, Steps]] = []
    if target.source.factory is not None:
        found.append((target.source.factory, ("source", "factory")))
    found += [
        (step.function, ("passes", index, "custom", "function"))
        for index, step in enumerate(target.passes)
        if isinstance(step, CustomPass)
    ]
    for section, given in (("calibration", target.calibration), ("evaluation", target.evaluation)):
        if given is not None and isinstance(given.data, LoaderData):
            found.append((given.data.function, (section, "data", "loader")))
    if target.evaluation is not None and target.evaluation.metric is not None:
        function = target.evaluation.metric.function
        if function is not None:
            found.append((function, ("evaluation", "metric", "custom")))
    return found


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the text that Git LFS leaves where the real file was not fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """Return the SHA-256 that `sha256` pins: of a file its content; of a folder its [path, digest] list as JSON."""
    if path.is_file():
        return digest_file(path)
    return digest_bytes(encode([[name, digest_file(path / name)] for name in list_files(path)]))


def _as_written(target: Target, text: str, place: Place) -> str:
    """Return a path as it stands at its place: one of the project's defaults is relative to the project."""
    return posixpath.normpath(posixpath.join(target.folder, text)) if place.file == FILE else text


def _near(path: Path) -> str | None:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return None
    return did_you_mean(path.name, sorted(names))


def _relative(path: Path, root: Path) -> str:
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
