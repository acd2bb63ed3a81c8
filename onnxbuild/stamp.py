"""Whether nothing at all differs since the last good make, by stat records; knows no recipe, action or store.

It is imported before everything else, so that a make with nothing to do costs little more than starting Python: of the
standard library it uses only what the interpreter has loaded anyway. Any doubt is answered with None or a difference,
and then the whole command line decides.
"""

import marshal
import os
import sys
import time
from _collections_abc import Iterator
from _imp import source_hash  # the checksum of importlib's own cache files; zlib would be another library to load

FORMAT = 1
FOLDER = ".onnxbuild/state/stamps"
PLACEHOLDER = "\0"
"""Stands in what is to be told for how long it took."""

ARM_MODEL = ("CPU implementer", "CPU variant", "CPU part")
INSTRUCTION_SETS = ("sse", "ssse", "avx", "fma", "f16c", "amx", "fphp", "asimd", "neon", "vfp", "sve", "sme", "i8mm")
"""How the processor's features begin that arithmetic is made with; x86's smep is none."""

DEVICE_NODES = (("", "nvidia"), ("", "kfd"), ("", "dxg"), ("dri", "renderD"), ("accel", "accel"))
"""Folders below /dev, and how the nodes in them begin that stand for a device to compute on."""

Signature = tuple[int, int, int, int, int]


class Stamp:
    """What the last good make of one selection depended on and delivered, and what an equal make tells.

    Names are relative to the project, or absolute. `files` maps names to signatures, None where there was nothing.
    `folders` maps a name to its signature (None: too young to trust), the names in it, and whether only those that
    describe installed packages count. `stores` are folders that must exist, with inode and device.
    `told` is by "out" or "err", quiet, coloured; `events` are JSON lines.
    """

    def __init__(
        self,
        selection: tuple[str, ...],
        environment: dict[str, str | None],
        files: dict[str, Signature | None],
        folders: dict[str, tuple[Signature | None, str, bool]],
        stores: dict[str, tuple[int, int]],
        told: dict[tuple[str, bool, bool], str],
        events: str,
        code: int,
    ) -> None:
        self.selection, self.environment, self.files, self.folders = selection, environment, files, folders
        self.stores, self.told, self.events, self.code = stores, told, events, code

    def encode(self) -> bytes:
        """Return the stamp with a checksum before it."""
        parts = (self.selection, self.environment, self.files, self.folders, self.stores, self.told, self.events)
        data = marshal.dumps((machine(), *parts, self.code))
        return source_hash(FORMAT, data) + data


def decode(data: bytes) -> Stamp | None:
    """Return the stamp, or None when it is damaged or was made by another interpreter or machine."""
    if source_hash(FORMAT, data[8:]) != data[:8]:
        return None
    where, *parts = marshal.loads(data[8:])  # noqa: S302  # the project's own file, and its checksum holds
    return Stamp(*parts) if where == machine() else None


def machine() -> tuple[str, ...]:
    """Return what tells this interpreter and machine from others."""
    return (sys.version, sys.executable, os.uname().nodename, *processor(), str(cores()), devices(), *sys.path[1:])


def processor() -> tuple[str, str]:
    """Return model and instruction sets of the first processor as Linux tells them, empty where it tells nothing.

    What else the kernel lists, such as its clock and its bugs, changes no result. ONNXBUILD_CPUINFO names the file to
    ask instead (for tests).
    """
    try:
        with open(os.environ.get("ONNXBUILD_CPUINFO", "/proc/cpuinfo"), "rb", 0) as file:
            first = file.read(16384).decode(errors="replace").partition("\n\n")[0]
    except OSError:
        return "", ""
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.split("\n"))}
    model = told.get("model name") or " ".join(f"{name} {told[name]}" for name in ARM_MODEL if name in told)
    flags = told.get("flags", told.get("Features", "")).split()
    computing = (flag for flag in flags if flag.startswith(INSTRUCTION_SETS) and flag != "smep")
    return model, " ".join(sorted(computing))


def cores() -> int:
    """Return how many cores this process may keep busy, by its affinity and the quota of its control groups.

    ONNXBUILD_CGROUP names the folder to look for control groups in instead of the root (for tests).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    root = os.environ.get("ONNXBUILD_CGROUP", "")
    for line in _lines(f"{root}/proc/self/cgroup"):
        _, controllers, folder = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = f"{root}/sys/fs/cgroup/{controllers}".rstrip("/")
        folder = folder.rstrip("/")
        while True:  # a group is bound by those above it too
            allowed = min(allowed, _quota(mounted + folder, allowed))
            if not folder:
                break
            folder = folder.rpartition("/")[0]
    return allowed


def _quota(group: str, most: int) -> int:
    """Return the cores of a control group's quota, rounded up; `most` where it has none."""
    told = _first_line(f"{group}/cpu.max").split()  # version 2, else 1
    told = told or [_first_line(f"{group}/cpu.cfs_{name}_us") for name in ("quota", "period")]
    if len(told) != 2 or not (told[0].isdecimal() and told[1].isdecimal() and int(told[1])):
        return most
    return max(1, -(-int(told[0]) // int(told[1])))


def devices() -> str:
    """Return the accelerators besides the CPU, with their driver, as Linux tells of them; empty where there are none.

    ONNXBUILD_DEVICES names the folder to look in instead of the root (for tests).
    """
    root = os.environ.get("ONNXBUILD_DEVICES", "")
    found = []
    for folder, kind in DEVICE_NODES:
        for name in _names_in(f"{root}/dev/{folder}"):
            if name.startswith(kind) and name[len(kind) :].isdigit() | (name == kind):
                of = [_first_line(f"{root}/sys/class/drm/{name}/device/{part}") for part in ("vendor", "device")]
                found.append(" ".join([name, *filter(None, of)]))
    found += nvidia_gpus()
    if driver := _first_line(f"{root}/proc/driver/nvidia/version"):
        found.append(driver)
    if found and (hidden := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        found.append(f"visible: {hidden}")
    return "; ".join(found)


def nvidia_gpus() -> list[str]:
    """Return the models of NVIDIA's GPUs as their driver tells."""
    folder = f"{os.environ.get('ONNXBUILD_DEVICES', '')}/proc/driver/nvidia/gpus"
    lines = [_first_line(f"{folder}/{name}/information") for name in _names_in(folder)]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _first_line(name: str) -> str:
    return next(iter(_lines(name)), "").strip()


def _lines(name: str) -> list[str]:
    try:
        with open(name, "rb", 0) as file:
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def signature(name: str, at: int | None = None) -> Signature | None:
    """Return what a change of a file cannot leave as it is, or None when there is no such file.

    The time of the last change of the inode cannot be set back: it shows an edit of the same size whose time of
    modification was restored. `at` is a descriptor of the folder that a relative name starts from.
    """
    try:
        stat = os.stat(name, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino, stat.st_dev)


def list_names(folder: str, *, packages: bool) -> str | None:
    """Return the names in a folder as one text, or None without the folder; `packages`: just those of installed ones.

    Byte code caches are no part of a folder.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kept = [name for name in names if name.endswith(("-info", ".pth")) or (not packages and name != "__pycache__")]
    return "\0".join(sorted(kept))


def differing(stamp: Stamp, root: str) -> Iterator[str]:
    """Yield the names of all that `stamp` records and that is not as it was, in the project at `root`.

    Variables are named with a dollar sign before them.
    """
    for variable, value in stamp.environment.items():
        if os.environ.get(variable) != value:
            yield f"${variable}"
    at = os.open(root, os.O_RDONLY)
    try:
        for name, known in stamp.files.items():
            if signature(name, at) != known:
                yield name
        for name, (seen, names, packages) in stamp.folders.items():
            young = seen is None or signature(name, at) != seen
            if young and list_names(os.path.join(root, name), packages=packages) != names:
                yield name
        for name, identity in stamp.stores.items():
            stat = os.stat(name, dir_fd=at)
            if (stat.st_ino, stat.st_dev) != identity:
                yield name
    finally:
        os.close(at)


class Call:
    """What the arguments of one plain `make` ask for."""

    def __init__(self) -> None:
        self.directory = "."
        self.events: str | None = None
        self.targets: list[str] = []
        self.quiet = self.strict = False

    @property
    def selection(self) -> tuple[str, ...]:
        """Targets and options that decide what is built and told."""
        return selection(self.targets, strict=self.strict)


def selection(targets: list[str], *, strict: bool) -> tuple[str, ...]:
    """Return targets and options in the form that stamps go by; other options say how to build, not what to tell."""
    return ("strict" if strict else "make", *targets)


def path_of(root: str, chosen: tuple[str, ...]) -> str | None:
    """Return the stamp's file of a selection, or None for one that no file can be named after."""
    name = "+".join(chosen)
    return None if "/" in name or len(name) > 200 else f"{root}/{FOLDER}/{name}"


def parse(arguments: list[str]) -> Call | None:
    """Return the call when the arguments are those of a make that a stamp may answer, else None."""
    call, verb, closed = Call(), False, False
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            if (not verb and word != "make") or closed or not word:
                return None
            if verb:
                call.targets.append(word)
            verb = True
            continue
        closed = bool(call.targets)
        if word in ("-q", "--quiet"):
            call.quiet = True
        elif word == "-C":
            call.directory = next(rest, "")
        elif word in ("-v", "--verbose") or (verb and word in ("-k", "--keep-going")):
            pass
        elif not verb:
            return None
        elif word == "--strict":
            call.strict = True
        elif word == "--events":
            call.events = next(rest, "")
        elif word in ("-j", "--jobs") or word[:2] == "-j":
            number = word[2:] if word[:2] == "-j" and len(word) > 2 else next(rest, "")
            if not number.isdecimal() or int(number) < 1:
                return None
        else:
            return None
    return call if verb and call.directory and call.events != "" else None


def find_root(start: str) -> str | None:
    """Return the nearest folder, from `start` upwards, that holds onnxbuild.yaml or recipes/; None without one."""
    folder = os.path.realpath(start)
    while not (os.path.isfile(f"{folder}/onnxbuild.yaml") or os.path.isdir(f"{folder}/recipes")):
        if folder == "/":
            return None
        folder = os.path.dirname(folder)
    return folder


def is_coloured(descriptor: int) -> bool:
    """Tell whether what is written to a descriptor may have colours."""
    return os.isatty(descriptor) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def answer(arguments: list[str]) -> int | None:
    """Do the whole `onnxbuild make` when there is nothing to do and return its exit code; else do nothing: None."""
    began = time.perf_counter()
    call = parse(arguments)
    if call is None:
        return None
    try:
        root = find_root(call.directory)
        file = path_of(root, call.selection) if root is not None else None
        if root is None or file is None:
            return None
        with open(file, "rb", 0) as stream:
            stamp = decode(stream.read())
        if stamp is None or stamp.selection != call.selection or any(differing(stamp, root)):
            return None
    except (OSError, ValueError, TypeError, EOFError):  # whatever is wrong with it: the whole command line finds out
        return None
    return _tell(stamp, call, began)


def _tell(stamp: Stamp, call: Call, began: float) -> int | None:
    seconds = time.perf_counter() - began
    out = 1
    if call.events is not None:
        lines = stamp.events.replace(PLACEHOLDER, f"{seconds:.4f}").encode()
        if call.events == "-":
            os.write(1, lines)
            out = 2
        else:
            try:
                events = os.open(
                    os.path.join(call.directory, call.events), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666
                )
            except OSError:
                return None
            os.write(events, lines)
            os.close(events)
    for stream, descriptor in (("err", 2), ("out", out)):
        text = stamp.told[stream, call.quiet, is_coloured(descriptor)]
        try:
            os.write(descriptor, text.replace(PLACEHOLDER, f"{seconds * 1000:.3g} ms").encode())
        except BrokenPipeError:
            pass  # whoever read us is gone
    return stamp.code
