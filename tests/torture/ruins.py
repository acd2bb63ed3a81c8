"""What must hold in a project whatever has happened to it; looks at files only."""

from __future__ import annotations

import hashlib
import json

from onnxbuild.store.store import Store
from tests.project import Done, Project


def outputs(project: Project) -> dict[str, bytes]:
    """Return the content of every file under build/ by its name."""
    root = project.root / "build"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def assert_whole(project: Project) -> None:
    """Every target's folder matches its manifest, every blob its name, and every trace can be read to its end."""
    for folder in project.root.glob("build/*/[!.]*"):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for name, file in manifest["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file["sha256"], folder / name
        finished = {path.name for path in folder.iterdir() if not path.name.endswith(".part")}
        assert finished == {"manifest.json", *manifest["files"]}
    own = project.root / ".onnxbuild"
    for blob in own.glob("blobs/*/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    store = Store(own)
    for file in own.glob("traces/*/*/[!.]*.json"):
        trace = store.traces.get(file.parent.name, file.stem)
        assert trace is not None, file
        assert all(store.blobs.has_artifact(artifact) for artifact in trace.outputs.values()), file


def leftovers(project: Project) -> list[str]:
    """Return the temporary files and folders that nobody needs any more."""
    root, own = project.root, project.root / ".onnxbuild"
    found = [*(own / "scratch").glob("*"), *(own / "tmp").glob("*")]
    found += [path for path in root.rglob("*") if path.name.endswith(".part")]
    found += [*root.glob("build/*/.*"), *root.glob("reports/.*")]
    return sorted({path.relative_to(root).as_posix() for path in found})


def assert_mends(project: Project, clean: dict[str, bytes]) -> Done:
    """The next make succeeds, delivers what a clean build does and leaves nothing lying about."""
    assert_whole(project)
    done = project.make("-j2")
    assert done.code == 0, done.err
    assert outputs(project) == clean
    assert_whole(project)
    assert leftovers(project) == []
    return done
