"""Every verb through the real command line: output, exit codes, places, quietness, and what a wrong call is told."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from onnxbuild import __version__, cli
from onnxbuild.commands import schema
from onnxbuild.commands.table import VERBS
from tests.hostile.corpus import CASES
from tests.project import MLP, Done, Project, write_mlp

ESCAPE = "\x1b"
TARGETS = """
variants:
  plain: {}
  strict:
    quantization: {mode: dynamic}
    tolerance: {outputs: {y: {max_abs: 1.0e-7}}}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built project: mlp:plain passed, mlp:strict failed its gate, other passed."""
    project = Project(tmp_path_factory.mktemp("commands") / "project")
    write_mlp(project)
    project.recipe("mlp", MLP + TARGETS)
    project.recipe("other", MLP)
    done = project.make("-k")
    assert done.code == 1, done.err
    return project.root


@pytest.fixture
def built(template: Path, tmp_path: Path) -> Project:
    """A copy of the built project, to do with as one likes."""
    shutil.copytree(template, tmp_path / "project")
    return Project(tmp_path / "project")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# Help and wrong calls


def test_help_lists_every_verb(project: Project) -> None:
    done = project.run("--help")
    assert done.code == 0
    for verb, summary in VERBS.items():
        assert re.search(rf"^    {verb} +{summary.split()[0]}", done.out, re.MULTILINE)
    assert "examples:\n  onnxbuild " in done.out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: onnxbuild {verb}")
    assert VERBS[verb][1:] in " ".join(printed.split())
    assert re.search(rf"^examples:\n  .*onnxbuild {verb}", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (["frobnicate"], "there is no command 'frobnicate'"),
        (["-q", "mkae"], "did you mean 'make'?"),
        ([], "required: COMMAND"),
        (["make", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["make", "-j", "many"], "invalid int value: 'many'"),
        (["get", "mlp"], "required: --out"),
        (["check", "--format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_wrong_call_is_2(call: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(call) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


def test_version(project: Project) -> None:
    done = project.run("--version")
    assert (done.code, done.out) == (0, f"onnxbuild {__version__}\n")


@pytest.mark.parametrize("verb", ["make", "check", "get", "clean"])
@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("mpl", "did you mean 'mlp'?"),
        ("mlp:plian", "did you mean 'mlp:plain'?"),
        ("zzz*", "there are: mlp, other"),
    ],
)
def test_unknown_target_is_2_with_the_nearest(
    built: Project, verb: str, target: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(built.root)
    out = ["--out", str(built.root / "out")] if verb == "get" else []
    assert cli.main(["-C", str(built.root), verb, target, *out]) == 2
    told = capsys.readouterr().err
    assert f"no target '{target}'" in told
    assert hint in told
    assert files(built.root) == before


def test_folder_that_is_not_there_is_named(built: Project, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("nowhere", "recipes/mlp.yaml"):
        assert cli.main(["-C", str(built.root / place), "status"]) == 2
        assert f"there is no folder {built.root / place}" in capsys.readouterr().err


def test_init_leaves_a_project_that_has_recipes_alone(built: Project, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(built.root)
    assert cli.main(["-C", str(built.root), "init"]) == 2
    assert "init --from MODEL" in capsys.readouterr().err
    assert files(built.root) == before


def test_diff_of_revisions_without_git_names_the_way_without(
    built: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["-C", str(built.root), "diff", "HEAD.."]) == 2
    assert "onnxbuild diff OLD.lock.json NEW.lock.json" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_make_with_no_jobs_is_2(built: Project, jobs: str) -> None:
    done = built.make(f"-j{jobs}")
    assert done.code == 2
    assert "at least 1" in done.err


def test_events_file_that_cannot_be_written_is_2(built: Project) -> None:
    done = built.run("make", "--events", "nowhere/events.jsonl")
    assert done.code == 2, done.err
    assert "nowhere/events.jsonl" in done.err


# Where


def test_directory_option_works_before_and_after_the_verb(built: Project, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path / "elsewhere")
    (elsewhere.root / "recipes").rmdir()
    assert elsewhere.run("-C", str(built.root), "check").code == 0
    assert elsewhere.run("check", "-C", "../project").code == 0
    missing = elsewhere.run("check")
    assert missing.code == 2
    assert "no project here" in missing.err
    assert "onnxbuild init" in missing.err


def test_directory_may_be_called_like_a_verb(built: Project) -> None:
    built.root.rename(built.root.parent / "make")
    outside = Project(built.root.parent)
    done = outside.run("-C", "make", "check", "mlp")
    assert done.code == 0, done.err


def test_files_are_relative_to_the_directory_option(built: Project, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path / "elsewhere")
    done = elsewhere.run("get", "-C", "../project", "other", "--out", "study")
    assert done.code == 0, done.err
    assert (built.root / "study/model.onnx").is_file()
    done = elsewhere.run("inspect", "-C", "../project/study", "model.onnx")
    assert done.code == 0, done.err
    done = elsewhere.run("make", "-C", "../project", "other", "--events", "told.jsonl")
    assert done.code == 0, done.err
    assert (built.root / "told.jsonl").is_file()


def test_root_is_found_from_a_subfolder(built: Project) -> None:
    deep = built.root / "recipes/data"
    done = built.run("-C", str(deep), "make", "other")
    assert done.code == 0, done.err
    assert done.out.startswith("Nothing to do: 1 target")
    assert not (deep / "build").exists()


# make


def test_quiet_says_nothing_of_what_is_well(built: Project) -> None:
    shutil.rmtree(built.root / "build")
    done = built.make("-q", "other")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = built.make("-q")
    assert done.code == 1
    assert done.out.count("\n") == 1
    assert re.match(r"failed +mlp:strict\b", done.out)


def test_verbose_names_what_was_up_to_date(built: Project) -> None:
    shutil.rmtree(built.root / "build/other")
    done = built.make("-v", "other")
    assert done.code == 0
    assert re.search(r"^up to date mlp/canonicalize$|^up to date other/canonicalize$", done.out, re.MULTILINE)
    assert "restored" in done.out
    shutil.rmtree(built.root / "build/other")
    assert "up to date other" not in built.make("other").out


def test_of_passed_targets_only_those_with_which_something_was_done_are_named(built: Project) -> None:
    built.recipe("other", MLP.replace("opset: 20", "opset: 19"))
    told = built.make("-k").out.splitlines()
    assert [line.split()[:2] for line in told if line.startswith("passed")] == [["passed", "other:default"]]
    assert told[-1].startswith("1 failed, 2 passed: ")


def test_no_escape_codes_where_nobody_sees_colours(built: Project) -> None:
    built.write("recipes/bad.yaml", "format: 2\n")
    done = [built.run("check"), built.make("-n", "mlp"), built.make("other"), built.run("doctor")]
    assert not any(ESCAPE in each.out + each.err for each in done)


def run_on_a_terminal(project: Project, *arguments: str, **env: str) -> str:
    """Run the command with a pseudo-terminal as its standard streams and return what it printed."""
    script = shutil.which("script")
    if script is None:
        pytest.skip("needs util-linux's script")
    import shlex
    import sys

    from tests.project import ENVIRONMENT

    command = shlex.join([sys.executable, "-m", "onnxbuild", *arguments])
    root = str(Path(__file__).parents[2])
    environment = {**ENVIRONMENT, "PYTHONPATH": root, "TERM": "xterm", **env}
    environment = {key: value for key, value in environment.items() if value or key != "NO_COLOR"}
    done = subprocess.run(
        [script, "-qec", command, "/dev/null"],
        cwd=project.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def test_terminal_gets_colours_unless_told_not_to(built: Project) -> None:
    built.write("recipes/bad.yaml", "format: 2\n")
    coloured = run_on_a_terminal(built, "check", NO_COLOR="")
    assert ESCAPE in coloured
    plain = run_on_a_terminal(built, "check", NO_COLOR="1")
    assert ESCAPE not in plain
    assert "bad.yaml:1:" in plain


def test_events_on_standard_output_are_pure_json_lines(built: Project) -> None:
    shutil.rmtree(built.root / "build")
    done = built.run("make", "-k", "--events", "-")
    assert done.code == 1
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[0]["event"] == "plan"
    assert events[0]["targets"] == ["mlp:plain", "mlp:strict", "other:default"]
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("end", 1)
    assert {e["event"] for e in events} == {"plan", "action", "gate", "verdict", "end"}
    assert "passed    other:default" in done.err


def test_dry_run_runs_nothing_and_says_what_would(built: Project) -> None:
    (built.root / ".onnxbuild").rename(built.root / "gone")
    before = contents(built)
    done = built.make("-n", "other")
    assert done.code == 0
    assert contents(built) == before
    decisions = {e["stage"]: e["decision"] for e in done.events if e["event"] == "action"}
    assert decisions["canonicalize"] == decisions["data"] == "run"
    assert decisions["validate"] == decisions["package"] == "waits"
    assert done.event("action", stage="reference")["on"] == [done.event("action", stage="data")["action"]]


def test_failed_gate_is_one_line_with_limit_measured_and_miss(built: Project) -> None:
    done = built.make("mlp:strict")
    assert done.code == 1
    lines = [line for line in done.out.splitlines() if line.startswith("failed")]
    assert len(lines) == 1
    assert "mlp:strict" in lines[0]
    assert "tolerance.y.max_abs" in lines[0]
    assert "1e-07" in lines[0]
    assert not (built.root / "build/mlp/strict").exists()


def test_strict_fails_on_what_could_not_be_verified(built: Project) -> None:
    built.recipe("other", MLP.replace("evaluation: {data: data/test.npz, metric: accuracy}\n", ""))
    done = built.make("other")
    assert done.code == 0, done.err
    assert done.event("verdict")["verdict"] == "unverified"
    assert done.out.splitlines()[-2].startswith("unverified other:default")
    assert built.make("--strict", "other").code == 1


# check


def test_check_of_a_sound_project(built: Project) -> None:
    done = built.run("check")
    assert (done.code, done.err) == (0, "")
    assert "well formed" in done.out
    done = built.run("check", "--format", "json")
    assert (done.code, json.loads(done.out)) == (0, [])


def test_check_places_every_error_and_runs_nothing(built: Project) -> None:
    built.recipe("bad", MLP.replace("opset: 20", "opest: 20").replace("metric: accuracy", "metric: acuracy"))
    before = files(built.root)
    done = built.run("check")
    assert done.code == 2
    assert "recipes/bad.yaml:6:1: error[" in done.err
    assert "did you mean 'opset'?" in done.err
    assert "recipes/bad.yaml:7:" in done.err
    assert "did you mean 'accuracy'?" in done.err
    assert "6 | opest: 20\n    | ^" in done.err
    assert files(built.root) == before - {"events.jsonl"}
    found = json.loads(built.run("check", "--format", "json").out)
    assert [(d["place"]["file"], d["place"]["line"], d["severity"]) for d in found] == [
        ("recipes/bad.yaml", 6, "error"),
        ("recipes/bad.yaml", 7, "error"),
    ]
    made = built.make()
    assert made.code == 2
    assert made.events == []
    left = [p for p in psutil.process_iter(["cwd", "cmdline"]) if p.info["cwd"] == str(built.root)]
    assert left == [], "a worker that was started before the recipes were read"


def test_broken_recipe_that_is_not_selected_is_a_warning(built: Project) -> None:
    built.recipe("bad", MLP.replace("opset: 20", "opest: 20"))
    done = built.make("other")
    assert done.code == 0, done.err
    assert "bad.yaml" in done.err
    assert "warning[" in done.err


# get, clean, report


@pytest.mark.parametrize("target", ["mlp:plain", "mlp:strict"])
def test_get_delivers_the_model_as_it_was_measured_passed_or_not(built: Project, target: str) -> None:
    out = built.root / "study"
    done = built.run("get", target, "--out", str(out))
    assert done.code == 0, done.err
    assert str(out / "model.onnx") in done.out
    facts = json.loads(built.run("inspect", "--format", "json", str(out / "model.onnx")).out)
    assert ("MatMulInteger" in facts["operators"]) == (target == "mlp:strict")
    again = built.run("get", target, "--out", str(out))
    assert again.code == 2
    assert "not an empty folder" in again.err


def test_get_of_what_was_never_built_or_of_several_is_2(built: Project) -> None:
    built.recipe("new", MLP + "passes: [{onnxscript: optimize}]\n")
    done = built.run("get", "new", "--out", "study")
    assert done.code == 2
    assert "run: onnxbuild make new" in done.err
    done = built.run("get", "mlp", "--out", "study")
    assert done.code == 2
    assert "mlp:plain, mlp:strict" in done.err
    assert not (built.root / "study").exists()


def test_clean_deletes_what_it_is_told_to(built: Project) -> None:
    root = built.root
    (root / "reports/mine.html").write_text("kept")
    done = built.run("clean", "mlp:plain")
    assert done.code == 0
    assert "deleted build/mlp/plain" in done.out
    assert not (root / "build/mlp/plain").exists()
    assert (root / "build/other/default/model.onnx").exists()
    done = built.run("clean")
    assert done.code == 0
    assert not (root / "build").exists()
    assert files(root / "reports") == {"mine.html"}
    made = built.make("other")
    assert (made.code, made.ran) == (0, [])
    done = built.run("clean", "--all")
    assert done.code == 0
    assert not (root / ".onnxbuild").exists()
    assert (root / "recipes/models/mlp.onnx").exists()
    assert built.run("clean", "--all").out == ""


def test_clean_spares_what_it_did_not_make(built: Project) -> None:
    built.write("build/other/notes.txt", "mine")
    built.write("build/data/v1/manifest.json", '{"name": "mine"}')
    assert built.run("clean").code == 0
    assert files(built.root / "build") == {"other/notes.txt", "data/v1/manifest.json"}


@pytest.mark.parametrize("call", [[], ["link"], ["mlp"]])
def test_clean_spares_copies_and_follows_no_links_to_them(built: Project, call: list[str]) -> None:
    build = built.root / "build"
    shutil.copytree(build / "mlp/plain", build / "mlp/copy")
    (build / "mlp/latest").symlink_to("copy")
    (build / "link").symlink_to("other")
    assert built.run("clean", *call).code == (2 if call == ["link"] else 0)
    assert (build / "mlp/copy/model.onnx").exists()
    assert (build / "link").is_symlink()
    assert (build / "mlp/latest").is_symlink()
    assert (build / "other/default").exists() is bool(call)
    assert (build / "mlp/plain").exists() is (call == ["link"])


def test_clean_leaves_a_file_where_outputs_belong(project: Project) -> None:
    project.write("build", "mine")
    assert project.run("clean").out == ""
    assert (project.root / "build").read_text() == "mine"


def test_clean_empties_folders_that_are_links_to_another_place(project: Project, tmp_path: Path) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP)
    for name in ("build", ".onnxbuild"):
        (tmp_path / "scratch" / name).mkdir(parents=True)
        (project.root / name).symlink_to(tmp_path / "scratch" / name)
    assert project.make().code == 0
    done = project.run("clean", "--all")
    assert (done.code, done.err) == (0, "")
    assert (project.root / "build").is_symlink()
    assert files(tmp_path / "scratch") == set()
    assert project.make().code == 0


@pytest.mark.parametrize("key", ["output", "reports", "store"])
@pytest.mark.parametrize("folder", [".", "./recipes/", ".git"])
def test_project_s_own_folders_are_no_place_for_outputs(
    project: Project, key: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("onnxbuild.yaml", f"{key}: {folder}\n")
    assert cli.main(["-C", str(project.root), "clean", "--all"]) == 2
    assert f"onnxbuild.yaml:1:{len(key) + 3}: error[wrong-value]" in capsys.readouterr().err
    assert (project.root / "recipes").is_dir()


@pytest.mark.parametrize("inside", [True, False])
def test_clean_all_takes_a_store_of_the_project_s_own_and_spares_a_shared_one(project: Project, inside: bool) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP)
    project.write("onnxbuild.yaml", f"store: {'cache' if inside else '../shared'}\n")
    assert project.make().code == 0
    store = project.root / "cache" if inside else project.root.parent / "shared"
    assert (store / "blobs").is_dir()
    assert project.run("clean", "--all").code == 0
    assert store.exists() is not inside


def test_report_is_drawn_again_from_what_was_built(built: Project) -> None:
    shutil.rmtree(built.root / "reports")
    done = built.run("report")
    assert (done.code, done.out) == (0, "reports/index.html\n")
    assert files(built.root / "reports") == {
        f"{name}.{kind}" for name in ("index", "mlp", "other") for kind in ("html", "json")
    }
    page = (built.root / "reports/mlp.html").read_text()
    assert "tolerance.y.max_abs" in page or "max_abs" in page
    assert "strict" in page


# inspect


def test_inspect_describes_a_model(built: Project) -> None:
    done = built.run("inspect", "build/other/default/model.onnx")
    assert done.code == 0, done.err
    for pattern in (
        r"^inputs +x +float32 +\[batch, 8\]$",
        r"^outputs +y +float32 +\[batch, 4\]$",
        r"^opset +ai.onnx 20$",
        r"^IR +10$",
        r"^ +MatMul +2$",
        r"^largest +w1 +float32 +\[8, 16\] +512 B$",
    ):
        assert re.search(pattern, done.out, re.MULTILINE), (pattern, done.out)
    facts = json.loads(built.run("inspect", "--format", "json", "build/other/default/model.onnx").out)
    assert facts["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 8]}]
    assert facts["operators"] == {"Add": 2, "Identity": 1, "MatMul": 2, "Relu": 1}


@pytest.mark.parametrize("name", ["expand_142_bytes", "cut", "text", "missing"])
def test_inspect_refuses_what_it_may_not_open_with_the_reason(built: Project, name: str) -> None:
    file, model = built.root / f"{name}.onnx", built.root / "build/other/default/model.onnx"
    reason = {"cut": "cut off or damaged", "text": "refused", "missing": "there is no file"}.get(name, "")
    if name in CASES:
        make, reason = CASES[name]
        file.write_bytes(make(built.root))
    elif name != "missing":
        file.write_bytes(model.read_bytes()[:300] if name == "cut" else b"format: 1\nsource: {}\n")
    done = built.run("inspect", f"{name}.onnx")
    assert done.code == 2, done.err
    assert done.out == ""
    assert reason in done.err
    assert f"{name}.onnx" in done.err
    assert "Traceback" not in done.err


# schema, doctor, completion


def test_schema_is_the_committed_one(project: Project) -> None:
    done = project.run("schema")
    assert done.code == 0
    committed = Path(__file__).parents[2] / "schemas/recipe.schema.json"
    assert json.loads(done.out) == json.loads(committed.read_text())
    settings = json.loads(project.run("schema", "--project").out)
    assert {"recipes", "output", "store", "limits"} <= set(settings["properties"])


def test_doctor_knows_versions(project: Project) -> None:
    import onnx

    done = project.run("doctor")
    assert f"onnxbuild {__version__}, Python 3." in done.out
    assert f"onnx {onnx.__version__}" in done.out
    found = json.loads(project.run("doctor", "--format", "json").out)
    assert found["versions"]["onnx"] == onnx.__version__
    assert found["host"]["cores"] >= 1
    assert done.code == (1 if found["problems"] else 0)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_that_bash_reads(project: Project, shell: str) -> None:
    done = project.run("completion", shell)
    assert done.code == 0
    script = done.out.replace("autoload -U +X bashcompinit && bashcompinit\n", "")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    asked = f"{script}\nCOMP_WORDS=(onnxbuild insp); COMP_CWORD=1; _onnxbuild; echo ${{COMPREPLY[@]}}"
    answer = subprocess.run(["bash"], input=asked, capture_output=True, text=True, check=True)
    assert answer.stdout == "inspect\n"


# Our own bugs


def test_bug_of_ours_is_3_and_its_log_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(schema, "run", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["schema", "--project"]) == 3
    told = capsys.readouterr().err
    assert "internal error: RuntimeError: the moon is full" in told
    assert "Traceback" not in told
    [log] = tmp_path.iterdir()
    assert str(log) in told
    text = log.read_text()
    assert f"onnxbuild {__version__}" in text
    assert "['schema', '--project']" in text
    assert 'raise RuntimeError("the moon is full")' in text


def test_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "run", interrupt)
    assert cli.main(["schema"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_reader_that_leaves_early_is_no_error(project: Project) -> None:
    """`onnxbuild schema | head -1` ends quietly."""
    import sys

    from tests.project import ENVIRONMENT

    process = subprocess.Popen(
        [sys.executable, "-m", "onnxbuild", "schema"],
        cwd=project.root,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def assert_same(one: Done, other: Done) -> None:
    assert (one.code, one.out, one.err) == (other.code, other.out, other.err)


def contents(project: Project) -> dict[str, bytes]:
    """What is in a project, less what it remembers to be quick."""
    names = {name for name in files(project.root) if not name.startswith(".onnxbuild/state/")} - {"events.jsonl"}
    return {name: (project.root / name).read_bytes() for name in names}


def test_verbs_that_only_look_change_nothing(built: Project) -> None:
    before = contents(built)
    for call in (["check"], ["make", "-n"], ["inspect", "recipes/models/mlp.onnx"]):
        first = built.run(*call)
        if call[0] != "make":
            assert_same(first, built.run(*call))
    assert contents(built) == before


@pytest.mark.parametrize("name", ["build", "reports", ".onnxbuild/state", "reports/index.html"])
def test_a_file_where_a_folder_belongs_is_told_and_no_bug_of_ours(project: Project, name: str) -> None:
    write_mlp(project)
    project.recipe("mlp", MLP)
    path = project.root / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix:
        path.mkdir()
    else:
        path.write_text("of somebody else")
    done = project.make()
    assert done.code == 1
    assert "stands" in done.err
    assert str(path) in done.err
    assert "bug" not in done.err


def test_a_get_into_a_file_names_it(built: Project) -> None:
    built.write("taken", "")
    done = built.run("get", "other", "--out", "taken/model")
    assert (done.code, "a file stands where a folder belongs: taken/model" in done.err) == (1, True)
    for days in ("soon", "-1", "nan"):
        assert f"'{days}' is no number of days" in built.run("gc", f"--max-age={days}").err
