"""Files of the store and of the project's state altered at random: never a wrong output, always mended."""

from __future__ import annotations

import marshal
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxbuild import stamp
from onnxbuild.engine.state import read_state
from onnxbuild.store.store import Store
from onnxbuild.targets.kept import standing
from tests.project import MLP, Project, write_mlp
from tests.torture.ruins import assert_whole, outputs

SEED = 20261123
RECIPE = MLP + "passes: [{onnxscript: optimize}]\n"
KINDS = {
    "blob": "blobs/*/*",
    "trace": "traces/*/*/*.json",
    "format": "traces/format",
    "last": "state/last.json",
    "files": "state/files.json",
    "mark": "state/pages.json",
    "recipes": "state/recipes.msgpack",
    "stamp": "state/stamps/[!.]*",
    "kept": "state/kept/*",
}
STAGES = ("data", "canonicalize", "optimize", "reference", "validate", "package")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one target, made."""
    project = Project(tmp_path_factory.mktemp("built") / "project")
    write_mlp(project)
    project.recipe("mlp", RECIPE)
    done = project.make("-j2")
    assert done.code == 0, done.err
    return project


# Each byte of what is believed without being made again


def damaged(data: bytes) -> Iterator[bytes]:
    """Every single-bit flip of a sample of bytes, every truncation of a sample of lengths, and more at the end."""
    chance = random.Random(SEED)
    for at in sorted({*range(min(len(data), 130)), *(chance.randrange(len(data)) for _ in range(200))}):
        yield data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    for length in sorted({0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(100))}):
        yield data[:length]
    yield data + b"\n"
    yield data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def test_no_altered_trace_is_read(built: Project, tmp_path: Path) -> None:
    shutil.copytree(built.root / ".onnxbuild/traces", tmp_path / "traces")
    traces = Store(tmp_path).traces
    files = sorted(tmp_path.glob(KINDS["trace"]))
    assert len(files) > len(STAGES)
    for file in files:
        whole, key = file.read_bytes(), file.parent.name
        assert traces.get(key, file.stem) is not None
        for data in damaged(whole):
            file.write_bytes(data)
            assert traces.get(key, file.stem) is None
            assert traces.find(key) == []
        for other in files:
            if other != file:
                file.write_bytes(other.read_bytes())
                assert traces.find(key) == []
                break
        file.write_bytes(whole)


@pytest.mark.parametrize("name", ["last", "files"])
def test_no_altered_state_is_read(built: Project, tmp_path: Path, name: str) -> None:
    whole = (built.root / ".onnxbuild" / KINDS[name]).read_bytes()
    file = tmp_path / f"{name}.json"
    file.write_bytes(whole)
    assert read_state(file)
    for data in damaged(whole):
        file.write_bytes(data)
        assert read_state(file) == {}
    other = "files" if name == "last" else "last"
    shutil.copy(built.root / ".onnxbuild" / KINDS[other], file)
    assert read_state(file) == {}


def test_no_altered_stamp_is_read(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = (built.root / ".onnxbuild").glob(KINDS["stamp"])
    whole = file.read_bytes()
    where = marshal.loads(whole[8:])[0]
    monkeypatch.setattr(stamp, "machine", lambda: where)  # here are other folders on the path than in the command
    assert stamp.decode(whole) is not None
    assert all(stamp.decode(data) is None for data in damaged(whole))


def test_nothing_altered_of_what_was_kept_is_read(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = (built.root / ".onnxbuild").glob(KINDS["kept"])
    (stamped,) = (built.root / ".onnxbuild").glob(KINDS["stamp"])
    where = marshal.loads(stamped.read_bytes()[8:])[0]
    monkeypatch.setattr(stamp, "machine", lambda: where)
    whole, store = file.read_bytes(), Store(built.root / ".onnxbuild")

    def stands() -> bool:
        return standing(built.root, ("make",), store) is not None

    assert stands()
    for data in damaged(whole):
        file.write_bytes(data)
        assert not stands()
    file.write_bytes(whole)
    assert stands()
    older = stamped.read_bytes()
    stamped.write_bytes(stamp.source_hash(stamp.FORMAT, other := marshal.dumps(marshal.loads(older[8:]), 2)) + other)
    assert stamp.decode(stamped.read_bytes()) is not None
    assert not stands(), "it belongs to another stamp"
    stamped.write_bytes(older)


# Whole builds from damaged stores


class Damage:
    """Alters files of a built project, makes it again with consumption forced, and counts what became of them."""

    def __init__(self, project: Project, seed: int) -> None:
        self.project, self.own = project, project.root / ".onnxbuild"
        self.chance = random.Random(seed)
        self.clean = outputs(project)
        self.counts: Counter[str] = Counter()

    def trial(self, files: int) -> None:
        """Forget what some stages did, alter so many files, make, compare, and put right what nobody looked at."""
        shutil.rmtree(self.project.root / "build")
        self.forget(set(self.chance.sample(STAGES, self.chance.randint(1, 4))))
        altered: dict[Path, tuple[str, bytes, bytes]] = {}
        for _ in range(files):
            kind, file = self.pick()
            whole = file.read_bytes()
            data = self.alter(file, whole, KINDS[kind])
            if data == whole or file in altered:
                continue
            file.chmod(0o644)
            file.write_bytes(data)
            altered[file] = (kind, whole, data)
        done = self.project.make("-j2")
        assert done.code == 0, (altered, done.err)
        assert outputs(self.project) == self.clean, altered
        for file, (kind, whole, data) in altered.items():
            read = not file.exists() or file.read_bytes() != data
            self.counts[f"{kind} {'detected' if read else 'never read'}"] += 1
            if not read:
                file.chmod(0o644)
                file.write_bytes(whole)
        assert_whole(self.project)

    def forget(self, stages: set[str]) -> None:
        """Delete the traces of some stages, as gc may: what is made again consumes what is before it."""
        traces = Store(self.own).traces
        for file in sorted(self.own.glob(KINDS["trace"])):
            trace = traces.get(file.parent.name, file.stem)
            if trace is None or trace.stage in stages:
                file.unlink()

    def pick(self) -> tuple[str, Path]:
        """Choose a kind of file, blobs and traces more often, and one of them."""
        found = {kind: sorted(self.own.glob(pattern)) for kind, pattern in KINDS.items()}
        kinds = [kind for kind in ("blob", "blob", "blob", "trace", "trace", *KINDS) if found[kind]]
        kind = self.chance.choice(kinds)
        return kind, self.chance.choice(found[kind])

    def alter(self, file: Path, whole: bytes, pattern: str) -> bytes:
        """Return other bytes: a flipped bit, fewer, none at the end, those of a file of its kind, or more."""
        at = self.chance.randrange(len(whole)) if whole else 0
        match self.chance.choice(["flip", "flip", "cut", "zero", "swap", "append"]):
            case "flip" if whole:
                return whole[:at] + bytes([whole[at] ^ (1 << self.chance.randrange(8))]) + whole[at + 1 :]
            case "cut":
                return whole[:at]
            case "zero":
                return whole[:at] + bytes(len(whole) - at)
            case "swap":
                return self.chance.choice(sorted(self.own.glob(pattern))).read_bytes()
            case _:
                return whole + b"x"


def test_damaged_stores_deliver_what_whole_ones_do(built: Project, record_property: pytest.RecordProperty) -> None:
    damage = Damage(built, SEED)
    for _ in range(8):
        damage.trial(4)
    record_property("counts", dict(damage.counts))
    assert damage.counts.total() >= 24
    assert damage.counts["blob detected"] >= 3
    assert damage.counts["trace detected"] >= 3


@pytest.mark.soak
@pytest.mark.parametrize("hundred", range(10))
def test_one_damaged_file_at_a_time_a_thousand_times(
    built: Project, hundred: int, record_property: pytest.RecordProperty
) -> None:
    damage = Damage(built, SEED + 1 + hundred)
    while damage.counts.total() < 100:
        damage.trial(1)
    record_property("counts", dict(damage.counts))
    print(dict(damage.counts))
