"""Which inputs follow from what user code did: modules, packages, what is outside, what it wrote, what nobody sees."""

# a piece of user code is one line

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.engine.watching import Case, Seen, watch

PACKAGE = "import os\nos.makedirs('pack/sub')\nfor n in ('__init__', 'a', 'b', 'sub/__init__', 'sub/c'):\n    open(f'pack/{n}.py', 'w').write('X = 1\\n')\n"
STALE = """\
import os, py_compile
open('m.py', 'w').write('X = 1')
py_compile.compile('m.py')
before = os.stat('m.py')
open('m.py', 'w').write('X = 2')
os.utime('m.py', ns=(before.st_atime_ns, before.st_mtime_ns))
"""
GUARDED = "try:\n    import maybe_module\nexcept ImportError:\n    pass"
CASES = [
    Case("module", "import helper", "open('helper.py', 'w')"),
    Case("package", "import pack.a", PACKAGE),
    Case("relative", "import pack.a", PACKAGE + "open('pack/a.py', 'w').write('from .sub import c\\nfrom . import b')"),
    Case("namespace", "import space.a", "import os\nos.mkdir('space')\nopen('space/a.py', 'w')"),
    Case(
        "by-location",
        "import importlib.util as u\ns = u.spec_from_file_location('z', 'x/z.py')\ns.loader.exec_module(u.module_from_spec(s))",
        "import os\nos.mkdir('x')\nopen('x/z.py', 'w')",
    ),
    Case("by-name", "import importlib\nimportlib.import_module('helper')", "open('helper.py', 'w')"),
    Case(
        "in-a-fork",
        "import os\np = os.fork()\nif p == 0:\n    import helper\n    os._exit(0)\nos.waitpid(p, 0)",
        "open('helper.py', 'w')",
    ),
    Case("stale-bytecode", "import m\nassert m.X == 2", STALE),
    Case(
        "stale-by-location",
        "import importlib.util as u\ns = u.spec_from_file_location('m', 'm.py')\nm = u.module_from_spec(s)\ns.loader.exec_module(m)\nassert m.X == 2",
        STALE,
    ),
    Case("missing", GUARDED),
    Case("missing-in-package", "try:\n    import pack.none\nexcept ImportError:\n    pass", PACKAGE),
    Case(
        "missing-relative",
        "import pack.a",
        PACKAGE + "open('pack/a.py', 'w').write('try:\\n    from . import none\\nexcept ImportError:\\n    pass')",
    ),
    Case("shadowable", "import colorsys"),
    Case(
        "importer-s-own-listing",
        "import helper, importlib.metadata\nimportlib.metadata.version('numpy')",
        "open('helper.py', 'w')",
    ),
    Case("written", "open('c.txt', 'w').write('1')\nopen('c.txt').read()"),
    Case(
        "renamed-into-place",
        "import os\nopen('c.tmp', 'w').write('1')\nos.replace('c.tmp', 'c.txt')\nopen('c.txt').read()",
    ),
    Case("written-only", "import os\nif not os.path.exists('c.txt'):\n    open('c.txt', 'w').write('1')"),
    Case(
        "changed",
        "import os\nopen('c.txt').read()\nos.utime('c.txt', (1, 1))\nopen('c.txt').read()",
        "open('c.txt', 'w').write('1')",
    ),
    Case("outside", "open('../outside.txt').read()", "open('../outside.txt', 'w').write('1')"),
    Case("outside-strict", "open('../outside.txt').read()", "open('../outside.txt', 'w').write('1')", strict=True),
    Case(
        "outside-named",
        "open('../named.txt').read()",
        "open('../named.txt', 'w').write('1')",
        reads=("../named.txt",),
        strict=True,
    ),
    Case(
        "system",
        "import os, tempfile, ssl\nopen('/proc/self/status').read()\nopen('/etc/hosts').read()\nopen(os.__file__).read()\ntempfile.tempdir = 'scratch'\nf = tempfile.NamedTemporaryFile('w+')\nopen(f.name).read()",
        strict=True,
    ),
    Case("subprocess", "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])"),
    Case("os.system", "import os\nos.system('true')"),
    Case("os.spawn", "import os\nos.spawnv(os.P_WAIT, '/bin/true', ['true'])"),
    Case("os.posix_spawn", "import os\nos.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)"),
    Case("os.exec", "import os\np = os.fork()\nif p == 0:\n    os.execv('/bin/true', ['true'])\nos.waitpid(p, 0)"),
    Case("subprocess-named", "import os\nos.system('true')", reads=("data/*",)),
    Case("harmless-program", "import platform, os\nos.system('uname')"),
    Case("unwrapped", "import polars", "import os\nos.mkdir('polars')\nopen('polars/__init__.py', 'w')"),
    Case("globs", "pass", "import os\nos.mkdir('d')\nopen('d/a.txt', 'w')", reads=("d/*.txt",)),
    Case("named-twice", "open('d/a.txt')", "import os\nos.mkdir('d')\nopen('d/a.txt', 'w')", reads=("d/*.txt",)),
    Case("packages", "import by_version, by_content"),
    Case("preloaded", "import onnx"),
    Case("nothing", "pass"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    folder = tmp_path_factory.mktemp("watched")
    site = folder / "lib/site-packages"
    (site / "by_version").mkdir(parents=True)
    (site / "by_version/__init__.py").write_text("import below_it")
    (site / "below_it.py").write_text("")
    for name, module in (
        ("By-Version", "by_version/__init__.py"),
        ("Below-It", "below_it.py"),
        ("By-Content", "x.pth"),
        ("Other", "other.py"),
    ):
        info = site / f"{name.replace('-', '_').lower()}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "RECORD").write_text(f"{module},,\n")
        (info / "top_level.txt").write_text(module.partition("/")[0].partition(".py")[0])
    (site / "by_content-1.5.dist-info/top_level.txt").write_text("by_content")
    editable = folder / "elsewhere/by_content"
    editable.mkdir(parents=True)
    (editable / "__init__.py").write_text("from by_content import part\nopen(__file__[:-11] + 'data.txt').read()")
    (editable / "part.py").write_text("")
    (editable / "data.txt").write_text("")
    found = watch(folder, CASES, preload=["onnx"], path=[site, editable.parent])
    assert {name: case.failure for name, case in found.items() if case.failure and name != "outside-strict"} == {}
    return found


@pytest.mark.parametrize(
    ("case", "files"),
    [
        ("module", {"helper.py"}),
        ("package", {"pack/__init__.py", "pack/a.py"}),
        ("relative", {"pack/__init__.py", "pack/a.py", "pack/b.py", "pack/sub/__init__.py", "pack/sub/c.py"}),
        ("namespace", {"space/a.py"}),
        ("by-location", {"x/z.py"}),
        ("by-name", {"helper.py"}),
        ("in-a-fork", {"helper.py"}),
        ("stale-bytecode", {"m.py"}),
        ("stale-by-location", {"m.py"}),
        ("nothing", set()),
    ],
)
def test_modules_of_the_project(case: str, files: set[str], seen: dict[str, Seen]) -> None:
    assert seen[case].files == files
    assert seen[case].names("folder") == set()


@pytest.mark.parametrize(
    ("case", "absent"),
    [
        ("missing", {"maybe_module.py", "maybe_module"}),
        ("missing-in-package", {"pack/none.py", "pack/none"}),
        ("missing-relative", {"pack/none.py", "pack/none"}),
        ("shadowable", {"colorsys.py", "colorsys"}),
        ("namespace", {"space.py", "space/__init__.py"}),
        ("module", {"helper/__init__.py"}),
    ],
)
def test_modules_that_are_not_there(case: str, absent: set[str], seen: dict[str, Seen]) -> None:
    assert seen[case].names("absent") >= absent
    assert not [
        name for name in seen[case].names("absent") if "/" in name and not name.startswith(("pack", "space", "helper"))
    ]


def test_imports_list_no_folder(seen: dict[str, Seen]) -> None:
    """A new recipe in a folder on the path must not run what imports from there."""
    assert seen["importer-s-own-listing"].names("folder") == set()


@pytest.mark.parametrize("case", ["written", "renamed-into-place"])
def test_what_is_written_and_read_is_no_input(case: str, seen: dict[str, Seen]) -> None:
    assert seen[case].files == set()
    assert "c.txt" not in seen[case].names("absent")
    assert seen[case].text("written-and-read").startswith("c.txt is both")


def test_what_is_only_written_is_no_input_and_no_news(seen: dict[str, Seen]) -> None:
    assert (seen["written-only"].files, seen["written-only"].codes) == (set(), set())


def test_what_changed_while_it_was_read_has_no_digest(seen: dict[str, Seen]) -> None:
    (digest,) = (d for kind, name, d in seen["changed"].discovered if name == "c.txt")
    assert len(digest) != 64
    assert seen["changed"].codes == {"changed-while-read"}


def test_read_outside_the_project_is_an_input_and_a_warning(seen: dict[str, Seen]) -> None:
    assert seen["outside"].files == {"../outside.txt"}
    assert "../outside.txt" in seen["outside"].text("read-outside-project")


def test_read_outside_the_project_is_an_error_with_strict_reads(seen: dict[str, Seen]) -> None:
    assert (seen["outside-strict"].failure or "").startswith("read-outside-project: user code reads ../outside.txt")


def test_read_outside_the_project_that_the_recipe_names_is_neither(seen: dict[str, Seen]) -> None:
    assert seen["outside-named"].codes == set()
    assert seen["outside-named"].names("glob") == {"../named.txt"}


def test_the_interpreter_the_system_and_the_job_s_own_folder_are_not_outside(seen: dict[str, Seen]) -> None:
    assert (seen["system"].codes, seen["system"].files) == (set(), set())


@pytest.mark.parametrize("case", ["subprocess", "os.system", "os.spawn", "os.posix_spawn", "os.exec"])
def test_program_that_user_code_starts_is_a_warning(case: str, seen: dict[str, Seen]) -> None:
    program = Path(sys.executable).name if case == "subprocess" else "true"
    assert f"starts {program}" in seen[case].text("unseen-reads")
    assert "`reads`" in seen[case].text("unseen-reads")


@pytest.mark.parametrize("case", ["subprocess-named", "harmless-program"])
def test_program_without_a_warning(case: str, seen: dict[str, Seen]) -> None:
    assert seen[case].codes == set()


def test_unwrapped_native_reader_is_a_warning(seen: dict[str, Seen]) -> None:
    assert "reads with polars" in seen["unwrapped"].text("unseen-reads")


def test_globs_are_recorded_beside_the_files_they_match(seen: dict[str, Seen]) -> None:
    assert seen["globs"].names("glob") == seen["named-twice"].names("glob") == {"d/*.txt"}
    assert seen["named-twice"].files == {"d/a.txt"}


def test_installed_packages_are_inputs_by_version_with_what_they_import(seen: dict[str, Seen]) -> None:
    packages = {(name, version) for kind, name, version in seen["packages"].discovered if kind == "package"}
    assert packages == {("By-Version", "1.5"), ("Below-It", "1.5")}


def test_editable_install_is_an_input_by_content_without_a_warning(seen: dict[str, Seen]) -> None:
    below = "../elsewhere/by_content"
    assert seen["packages"].files == {f"{below}/__init__.py", f"{below}/part.py", f"{below}/data.txt"}
    assert seen["packages"].codes == set()


def test_package_that_was_there_before_counts_when_user_code_names_it(seen: dict[str, Seen]) -> None:
    assert seen["preloaded"].names("package") == {"onnx"}
    assert seen["nothing"].names("package") == set()
