"""The results of a check as they are written for students, teachers and Gradescope, and the skeleton to begin with.

No loop runs here: the results are constructed.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.check import check as checks
from benchmarks.check import start
from benchmarks.check.autograder import FOLDERS, PROJECT_FILES, Settings, autograder, grade
from benchmarks.check.chart import class_chart
from benchmarks.check.formats import as_text, broken, gradescope, junit, markdown_block, markdown_line, print_result
from benchmarks.check.rubric import HINTS, ITEMS, Result, make_rubric
from benchmarks.check.submissions import CHART, TABLE, check_folder
from benchmarks.cli import main
from benchmarks.judge.finding import Finding
from shared.starting.children import ROOT

CLIP = Finding(
    "clip.missing",
    3,
    "the gradients reach the optimizer unclipped",
    {"student": "norm 38.6", "right": "norm 1"},
)
LOOP = "def train(model, tokenizer, train_dataset, eval_dataset, config):\n    return []\n"
# What a student can put into a message, a name or a value.
NASTY = "``` \x1b[31m<script>alert(1)</script> [click](http://x) **b** | \ud800 &amp; \x00 ````\n# no heading"


def result(*findings: Finding, verdict: str = "", reached: tuple[str, ...] = ITEMS, **fields) -> Result:
    rubric = make_rubric(findings, reached, fields.pop("points", None))
    verdict = verdict or ("different" if findings else "identical")
    score = 0.0 if verdict == "failed" else float(sum(row["points"] for row in rubric))
    name = fields.pop("name", "my_loop.py")
    return Result(name, verdict, rubric, score, 12.3, **fields)


def crashed(text: str = NASTY) -> Result:
    return result(verdict="failed", reached=("seed",), why=text, traceback=text, output=text, name="x.py")


def printed(outcome: Result, encoding: str = "utf-8", **options) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    print_result(outcome, Console(file=file, width=100, highlight=False), **options)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_text_has_a_line_per_phase_and_the_verdict_last() -> None:
    lines = as_text(result(CLIP, reached=ITEMS[:-1]), "text").splitlines()
    assert [line.split()[0] for line in lines] == ["✓"] * 9 + ["✗"] + ["✓"] * 4 + ["·", "different:"]
    assert "step 3: norm 38.6, right is norm 1: the gradients reach the optimizer unclipped" in lines[9]
    assert as_text(crashed("line 3: KeyError"), "text").splitlines()[-2:] == [
        "line 3: KeyError",
        "failed: 0 of 15 points, 12.3 s",
    ]
    assert "not reached" in lines[14] and lines[15] == "different: 13 of 15 points, 12.3 s"


def test_hints_stand_with_what_is_wrong_and_nowhere_else() -> None:
    with_hints = printed(result(CLIP), hints=True)
    assert HINTS["clip"] in " ".join(with_hints.split())
    assert with_hints.count("?") == HINTS["clip"].count("?") + 1
    assert "?" not in printed(result(CLIP))


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = printed(crashed("naïve ✗"), encoding="ascii") + printed(result(CLIP), encoding="ascii")
    assert re.search(r"^x +clip", text, re.MULTILINE) and re.search(r"^ok +seed", text, re.MULTILINE)
    assert "na\\xefve" in text


def test_a_terminal_is_not_controlled_by_what_a_loop_says() -> None:
    text = printed(crashed("[bold]a[/nothing] \x1b[2J\x07"))
    assert "\x1b" not in text and "\x07" not in text and "[bold]a[/nothing]" in text


def test_json_is_the_result() -> None:
    outcome = result(CLIP)
    assert json.loads(as_text(outcome, "json")) == outcome.as_dict()


@pytest.mark.parametrize(
    "outcome", [result(), result(CLIP, reached=ITEMS[:-1]), result(CLIP, points={"clip": 2.5, "seed": 0}), crashed()]
)
def test_gradescope_gets_what_its_specification_asks_for(outcome: Result) -> None:
    content = json.loads(as_text(outcome, "gradescope"))
    assert content["score"] == outcome.score == sum(test["score"] for test in content["tests"])
    assert outcome.most == sum(test["max_score"] for test in content["tests"])
    assert content["execution_time"] == 12.3 and outcome.verdict in content["output"]
    fields = {"name", "score", "max_score", "status", "output", "output_format", "visibility"}
    for test in content["tests"]:
        assert set(test) == fields and test["output_format"] == "md"
        assert test["status"] in ("passed", "failed")
    if outcome.verdict != "failed":
        assert [test["name"] for test in content["tests"]] == list(ITEMS)
        assert {test["visibility"] for test in content["tests"]} == {"visible"}
        passed = [test["name"] for test in content["tests"] if test["status"] == "passed"]
        assert passed == [row["item"] for row in outcome.rubric if row["status"] == "pass"]


def test_gradescope_hides_the_traceback_of_a_crash_from_students() -> None:
    tests = gradescope(crashed("line 3: KeyError: a_secret"))["tests"]
    assert [test["visibility"] for test in tests] == ["visible", "hidden"]
    assert tests[0]["output"] == "There is nothing to judge: line 3: KeyError: a\\_secret."
    assert "Traceback" in tests[1]["output"] and "What it printed" in tests[1]["output"]


def test_gradescope_asks_the_question_only_with_hints() -> None:
    def output(hints: bool) -> str:
        return gradescope(result(CLIP), hints)["tests"][ITEMS.index("clip")]["output"]

    assert markdown_line(HINTS["clip"]) in output(True) and markdown_line(HINTS["clip"]) not in output(False)


def test_what_a_student_says_is_no_markup() -> None:
    line = markdown_line(NASTY)
    assert "\n" not in line and "<" not in line and "\x1b" not in line and "\ud800" not in line
    assert re.search(r"(?<!\\)[`*_\[\]|#]", line) is None
    block = markdown_block(NASTY).splitlines()
    fence = block[-1]
    assert set(fence) == {"`"} and block[0] == f"{fence}text"
    assert not any(line.strip().startswith(fence) for line in block[1:-1])
    json.dumps(gradescope(crashed())).encode()


def test_junit_has_a_testcase_per_phase() -> None:
    suite = ElementTree.fromstring(junit(result(CLIP, reached=ITEMS[:-1]), hints=True))
    assert [case.get("name") for case in suite] == list(ITEMS)
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "15",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    assert "norm 38.6" in suite.find("testcase[@name='clip']/failure").get("message")
    assert suite.find("testcase[@name='clip']/failure").text == HINTS["clip"]
    assert suite.find("testcase[@name='evaluate']/skipped") is not None


def test_junit_says_of_a_crash_that_it_is_an_error_whatever_the_loop_printed() -> None:
    suite = ElementTree.fromstring(junit(crashed()).encode())
    assert suite.get("errors") == "1" and suite.get("tests") == "16"
    error = suite.find("testcase/error")
    assert "<script>alert(1)</script>" in error.text and "\x00" not in error.text


# The command line.


def run_check(outcome: Result, *arguments: str) -> tuple[int, dict]:
    """Run `sameloop check` with this result; return the status, and the arguments of `check`."""
    called = {}

    def check(file, settings, **options) -> Result:
        called.update(file=file, settings=settings, **options)
        return outcome

    with patch.object(checks, "check", check):
        return main(["check", *arguments]), called


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(result(), 0), (result(verdict="equivalent"), 0), (result(CLIP), 1), (crashed(), 1)],
    ids=["identical", "equivalent", "different", "failed"],
)
def test_the_exit_status_is_the_verdict(outcome: Result, status: int, capsys) -> None:
    assert run_check(outcome, "my_loop.py")[0] == status
    assert outcome.verdict in capsys.readouterr().out


def test_options_reach_the_check_and_the_result_goes_to_the_file(tmp_path: Path, capsys) -> None:
    (tmp_path / "points.toml").write_text("clip = 2\nschedule_step = 0.5\n")
    output = tmp_path / "result.xml"
    limits = ["--points", str(tmp_path / "points.toml"), "--time-limit", "9", "--memory-limit", "800"]
    settings = ["--gradient-accumulation-steps", "4", "--weight-decay", "0.1", "--lr-scheduler-type", "cosine"]
    status, called = run_check(result(), "a.py", "--format", "junit", "--output", str(output), *limits, *settings)
    assert (status, capsys.readouterr().out) == (0, "")
    assert ElementTree.parse(output).getroot().tag == "testsuite"
    assert called == {
        "file": Path("a.py"),
        "settings": {"gradient_accumulation_steps": 4, "weight_decay": 0.1, "lr_scheduler_type": "cosine"},
        "points": {"clip": 2, "schedule step": 0.5},
        "seconds": 9,
        "megabytes": 800,
    }


def test_without_points_and_settings_the_check_has_its_own(capsys) -> None:
    _, called = run_check(result(), "a.py")
    assert called["settings"] == {} and called["points"] is None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("clap = 2", "no phase clap"),
        ('clip = "2"', "give a number"),
        ("clip = true", "give a number"),
        ("clip = -1", "give a number"),
        ("clip = nan", "give a number"),
        ("clip = ", "not TOML"),
        (None, "cannot be read"),
    ],
)
def test_points_that_are_none_are_refused(points: str | None, message: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "points.toml"
    if points is not None:
        file.write_text(points)
    assert run_check(result(), "a.py", "--points", str(file))[0] == 2
    assert_one_line(capsys.readouterr().err, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py"], "there is no such file"),
        (["loop.ipynb"], "is no notebook"),
        (["empty"], "no Python file"),
        (["class", "--format", "json"], "is a folder"),
        (["class", "--output", "class/results"], "folder of the submissions"),
        (["loop.py", "--warmup-steps", "-1"], "--warmup-steps -1"),
        (["loop.py", "--bf16"], "--bf16"),
        (["class", "--jobs", "3"], "--jobs"),
    ],
)
def test_wrong_input_ends_in_one_line_and_status_2(arguments: list[str], message: str, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ann.py").write_text(LOOP)
    (tmp_path / "loop.ipynb").touch()
    assert main(["check", *arguments]) == 2
    assert_one_line(capsys.readouterr().err, message)
    assert [file.name for file in (tmp_path / "class").iterdir()] == ["ann.py"]


def assert_one_line(text: str, message: str) -> None:
    assert text.startswith("sameloop: error: ") and text.count("\n") == 1 and message in text


# Folders.


def test_a_class_is_judged_to_its_end(tmp_path: Path, capsys) -> None:
    """Also if one of them breaks the check; the written files have the results."""
    submissions = tmp_path / "hw"
    submissions.mkdir()
    for name in ("ann", "bob", "cid", "=dan()"):
        (submissions / f"{name}.py").write_text(LOOP)
    (submissions / "eve").mkdir()
    (submissions / "eve" / "a.py").touch()
    (submissions / "eve" / "b.py").touch()
    result_of = {"ann": result(), "cid": crashed(), "=dan()": result(CLIP)}

    def check(file: Path, settings, **options) -> Result:
        if file.stem == "bob":
            raise RuntimeError("the judge has a bug")
        return result_of[file.stem]

    output = tmp_path / "out"
    with patch.object(checks, "check", check):
        options = {"points": None, "seconds": 1.0, "megabytes": 1}
        results = check_folder(submissions, output, {}, **options)
    verdicts = {"=dan()": "different", "ann": "identical", "bob": "failed", "cid": "failed", "eve": "failed"}
    assert {name: result.verdict for name, result in results.items()} == verdicts
    streams = capsys.readouterr()
    assert "5 of 5: eve: failed" in streams.err and "=dan(): different (clip)" in streams.err
    assert "5 loops: 1 right, 1 wrong, 3 not judged" in streams.out
    rows = list(csv.DictReader((output / TABLE).open(encoding="utf-8")))
    assert [row["submission"] for row in rows] == ["'=dan()", "ann", "bob", "cid", "eve"]
    assert rows[0]["clip"] == "fail" and rows[0]["score"] == "14" and rows[1]["clip"] == "pass"
    assert "the judge has a bug" in rows[2]["why"] and "no file defines" in rows[4]["why"]
    written = json.loads((output / "=dan().json").read_text())
    assert written.items() >= result_of["=dan()"].as_dict().items() and written["submission"] == "=dan()"
    assert json.loads((output / "cid.json").read_text())["traceback"].startswith("```")
    assert (output / CHART).read_bytes().startswith(b"\x89PNG")
    assert "clip 1; in no other phase" in (output / "submissions.alt.txt").read_text()
    assert sorted(entry.name for entry in submissions.iterdir()) == ["=dan().py", "ann.py", "bob.py", "cid.py", "eve"]


def test_two_at_a_time_are_judged_like_one_at_a_time(tmp_path: Path, capsys) -> None:
    submissions = tmp_path / "hw"
    (submissions / "ann").mkdir(parents=True)
    (submissions / "bob").mkdir()
    for name in ("ann", "bob"):
        for file in ("a.py", "b.py"):
            (submissions / name / file).touch()
    options = {"points": {"clip": 3}, "seconds": 1.0, "megabytes": 1}
    alone, paired = (check_folder(submissions, tmp_path / f"{jobs}", {}, **options, jobs=jobs) for jobs in (1, 2))
    assert capsys.readouterr().err.count(" of 2: ") == 4
    assert alone == paired and list(paired) == ["ann", "bob"] and paired["ann"].most == 17


def test_the_chart_of_a_class_has_the_size_of_a_slide_and_its_words() -> None:
    picture = class_chart([result(CLIP), result(CLIP), result()])
    assert picture.content("png")[16:24] == (1920).to_bytes(4, "big") + (1080).to_bytes(4, "big")
    assert "3 loops: 1 right, 2 wrong. Wrong in: clip 2; in no other phase." in picture.alt
    assert "No loop is wrong" in class_chart([result()]).alt


# What students begin with.


def test_the_skeleton_is_python_and_its_first_gap_says_what_it_is(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["start"]) == 0
    names: dict = {}
    exec(compile((tmp_path / "my_loop.py").read_text(), "my_loop.py", "exec"), names)
    with pytest.raises(NotImplementedError, match="Seed: this gap is still to be filled"):
        names["train"](None, None, None, None, None)
    assert main(["start"]) == 2
    assert_one_line(capsys.readouterr().err.removeprefix("written: my_loop.py\n"), "exists already")


def test_the_skeleton_has_a_gap_with_a_comment_for_each_phase_and_no_code() -> None:
    text = start.skeleton("hw3")
    gaps = re.findall(
        r"^ +# ([A-Z][a-z ]+): .*\n(?: +# .*\n)* +raise NotImplementedError\(\"(.+?): ", text, re.MULTILINE
    )
    assert all(comment == gap for comment, gap in gaps)
    assert sorted(gap.lower() for gap, _ in gaps) == sorted(ITEMS)
    assert "sameloop check hw3.py --hints" in text
    assert not re.search(r"\.(backward|step|zero_grad|train|eval|to)\(|clip_grad|set_seed|import ", text)


def test_the_notebook_writes_the_skeleton_and_checks_it(tmp_path: Path) -> None:
    file = tmp_path / "hw3.ipynb"
    assert main(["start", str(file), "--notebook"]) == 0
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    introduction, loop, check = notebook["cells"]
    assert introduction["cell_type"] == "markdown" and loop["cell_type"] == check["cell_type"] == "code"
    assert "".join(loop["source"]) == f"%%writefile hw3.py\n{start.skeleton('hw3')}".rstrip("\n")
    assert "".join(check["source"]) == "!sameloop check hw3.py --hints"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == 3 and all(re.fullmatch("[a-zA-Z0-9-_]{1,64}", cell_id) for cell_id in ids)
    for cell in (loop, check):
        assert cell["outputs"] == [] and cell["execution_count"] is None
    if importlib.util.find_spec("nbformat"):
        importlib.import_module("nbformat").validate(notebook)


@pytest.mark.parametrize("arguments", [["a.txt"], ["a.ipynb"], ["a.py", "--notebook"], ["no/such/folder/a.py"]])
def test_start_refuses_a_name_that_misleads(arguments: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["start", *arguments]) == 2
    assert_one_line(capsys.readouterr().err, arguments[0])
    assert not any(tmp_path.iterdir())


# Gradescope.


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Gradescope's `/autograder`, with the zip of one exercise unpacked in it."""
    root = tmp_path_factory.mktemp("autograder")
    file = root / "hw.zip"
    settings = Settings({"gradient_accumulation_steps": 4}, {"clip": 2}, 60.0, 1500, hints=True)
    file.write_bytes(autograder(settings))
    with zipfile.ZipFile(file) as archive:
        archive.extractall(root / "source")
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    for name in ("setup.sh", "run_autograder"):
        assert modes[name] == 0o100755
        (root / "source" / name).chmod(0o755)
    (root / "submission").mkdir()
    (root / "results").mkdir()
    return root


def test_the_zip_has_all_that_pip_installs(unpacked: Path) -> None:
    project = unpacked / "source" / "sameloop"
    text = (project / "pyproject.toml").read_text()
    packages = re.findall(r'"([a-z_.]+)"', re.search(r"packages = \[(.*?)\]", text, re.DOTALL)[1])
    assert {package.partition(".")[0] for package in packages} == set(FOLDERS)
    for package in packages:
        there = project.joinpath(*package.split("."))
        ours = ROOT.joinpath(*package.split("."))
        assert {file.name for file in there.glob("*.py")} == {file.name for file in ours.glob("*.py")}
    for name in (*PROJECT_FILES, "shared/sources/embedded.txt", "benchmarks/check/gradescope/setup.sh"):
        assert (project / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list(project.rglob("__pycache__"))
    assert (unpacked / "source" / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()


def test_the_zip_is_the_same_whenever_it_is_made_and_overwrites_nothing(unpacked: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    assert [main(["autograder", str(file)]) for file in (one, two)] == [0, 0]
    assert one.read_bytes() == two.read_bytes()
    one.write_bytes(b"mine")
    assert main(["autograder", str(one)]) == 2 and one.read_bytes() == b"mine"


@pytest.mark.parametrize("script", ["setup.sh", "run_autograder"])
def test_the_scripts_are_bash(script: str, unpacked: Path) -> None:
    subprocess.run(["bash", "-n", unpacked / "source" / script], check=True)


def test_a_submission_is_graded_as_the_zip_says(unpacked: Path) -> None:
    called = {}

    def check(file: Path, settings, **options) -> Result:
        called.update(name=file.name, settings=settings, **options)
        return result(CLIP, points={"clip": 2})

    submission = unpacked / "submission" / "mine.py"
    submission.write_text(LOOP)
    try:
        with patch.object(checks, "check", check):
            content = grade(unpacked)
    finally:
        submission.unlink()
    assert called == {
        "name": "mine.py",
        "settings": {"gradient_accumulation_steps": 4},
        "points": {"clip": 2},
        "seconds": 60.0,
        "megabytes": 1500,
    }
    assert content["score"] == 14 and markdown_line(HINTS["clip"]) in json.dumps(content).replace("\\\\", "\\")


def test_a_submission_without_a_loop_says_so(unpacked: Path) -> None:
    content = grade(unpacked)
    assert content["tests"][0]["visibility"] == "visible" and "no Python file" in content["tests"][0]["output"]
    assert content["score"] == 0 and content["tests"][0]["max_score"] == 16


def test_a_loop_in_a_folder_is_found(unpacked: Path) -> None:
    folder = unpacked / "submission" / "hw3"
    folder.mkdir()
    (folder / "mine.py").write_text(LOOP)
    with patch.object(checks, "check", lambda file, settings, **options: result(name=str(file.name))):
        assert grade(unpacked)["score"] == 15
    (folder / "mine.py").unlink()
    folder.rmdir()


def test_an_autograder_that_breaks_says_so_and_hides_why(unpacked: Path, tmp_path: Path) -> None:
    content = grade(tmp_path)  # neither settings nor a submission
    visible, hidden = content["tests"]
    assert "says nothing about your loop" in visible["output"] and "FileNotFoundError" not in visible["output"]
    assert hidden["visibility"] == "hidden" and "FileNotFoundError" in hidden["output"]


@pytest.mark.parametrize("python", [None, "exit 3", "kill -9 $$"], ids=["not there", "breaks", "killed"])
def test_run_autograder_leaves_valid_results_whatever_happens(python: str | None, unpacked: Path) -> None:
    binary = unpacked / "venv" / "bin" / "python"
    binary.parent.mkdir(parents=True, exist_ok=True)
    binary.unlink(missing_ok=True)
    if python is not None:
        binary.write_text(f"#!/bin/sh\n{python}\n")
        binary.chmod(0o755)
    environment = {"AUTOGRADER_ROOT": str(unpacked), "PATH": "/usr/bin:/bin"}
    script = unpacked / "source" / "run_autograder"
    finished = subprocess.run([script], env=environment, capture_output=True, check=False)
    assert finished.returncode == 0
    content = json.loads((unpacked / "results" / "results.json").read_text())
    assert content == broken(content["tests"][0]["output"], 16.0) and "tell your teacher" in str(content)


def test_run_autograder_calls_the_grader(unpacked: Path) -> None:
    binary = unpacked / "venv" / "bin" / "python"
    binary.parent.mkdir(parents=True, exist_ok=True)
    binary.unlink(missing_ok=True)
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    binary.chmod(0o755)
    environment = {"AUTOGRADER_ROOT": str(unpacked), "PATH": "/usr/bin:/bin"}
    subprocess.run([unpacked / "source" / "run_autograder"], env=environment, check=True, cwd=unpacked)
    content = json.loads((unpacked / "results" / "results.json").read_text())
    assert "no Python file" in content["tests"][0]["output"]


def test_a_class_table_says_why_a_loop_is_wrong() -> None:
    from benchmarks.check.submissions import csv_text

    rows = list(csv.DictReader(io.StringIO(csv_text({"ann": result(CLIP), "bob": result(), "cy": crashed("line 3")}))))
    assert rows[0]["why"] == ("clip: step 3: norm 38.6, right is norm 1: the gradients reach the optimizer unclipped")
    assert (rows[1]["why"], rows[2]["why"]) == ("", "line 3")
