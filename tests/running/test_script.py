"""Which page runs: what a run keeps is what ran, and whatever looks at the run later uses that and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from conftest import LOOPS, Trained, compared, ran, run_in_process, stopping_after, tree

from benchmarks import compare as compare_module
from benchmarks.cli import main
from benchmarks.compare import compare
from benchmarks.lesson.report import write_report
from benchmarks.lesson.xray import script_frame, xray
from benchmarks.runs import command_line, read_comparison
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.recording.record import RunRecord
from shared.running.checkpoints import MANIFEST, in_order
from shared.running.script import ROOT, LoopScript, kept_code, kept_script, kept_scripts, package_script, what_changed

CONFIG = RunConfig.build("tiny", num_train_epochs=1, save_strategy="steps", save_steps=3)
OPTIONS = ["--preset", "tiny", "--num-train-epochs", "1", "--save-strategy", "steps", "--save-steps", "3"]
ZERO = "            optimizer.zero_grad()  # Zero: or the next gradients are added to these.\n"
BROKEN = package_script("manual").edited(ZERO, "")
EDITED = {
    "manual": BROKEN,
    "trainer": package_script("trainer").edited("max_grad_norm=config.max_grad_norm", "max_grad_norm=0.05"),
}


def said(captured: str) -> list[str]:
    return [line.removeprefix("· ") for line in captured.splitlines() if line.strip()]


def use_scripts(monkeypatch: pytest.MonkeyPatch, **scripts: LoopScript) -> None:
    """From here on these are today's pages, in this process and for the loops that `compare` starts."""
    today = {loop: package_script(loop) for loop in LOOPS} | scripts
    monkeypatch.setattr(compare_module, "scripts_of", lambda config: today)

    def in_process(loop: str, config: RunConfig, folder: Path, nproc: int = 1, *options: str, server: None) -> None:
        resume = "last" if "--resume-from-checkpoint" in options else None
        overwrite = "--overwrite-output-dir" in options
        run_in_process(loop, config, folder, script=today[loop], overwrite=overwrite, resume_from_checkpoint=resume)

    monkeypatch.setattr(compare_module, "run_in_fresh_process", in_process)
    monkeypatch.setattr(compare_module, "ready_to_fork", lambda *arguments: nullcontext())
    monkeypatch.setattr("benchmarks.charts.charts.draw_comparison", lambda *arguments: None)


def interrupted(loop: str, folder: Path) -> None:
    """A run that Ctrl-C stopped after step 3."""
    with stopping_after(loop, 3):
        run_in_process(loop, CONFIG, folder)


@pytest.fixture(scope="module")
def finished(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole comparison of the package's pages."""
    return compared({loop: trained(loop, CONFIG) for loop in LOOPS}, tmp_path_factory.mktemp("page") / "run")


@pytest.fixture(scope="module")
def broken(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of a broken manual loop, which is whole again by now."""
    folder = tmp_path_factory.mktemp("broken")
    run_in_process("manual", CONFIG, folder / "ran", script=BROKEN)
    return compared({"manual": folder / "ran", "trainer": finished / "trainer"}, folder / "run")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed; but its checkpoints, 12 MB each, share their files with it."""

    def take(source: str, target: str) -> None:
        (os.link if Path(source).parent.name.startswith("checkpoint-") else shutil.copy2)(source, target)

    return Path(shutil.copytree(finished, tmp_path / "run", copy_function=take))


# What is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_keeps_its_page_and_says_which_in_header_and_manifest(loop: str, finished: Path) -> None:
    script = package_script(loop)
    assert RunRecord.read(finished / loop).header["code"] == script.code == kept_code(finished / loop)
    for checkpoint in in_order(finished / loop):
        assert json.loads((checkpoint / MANIFEST).read_text())["code"] == script.code
    kept = kept_script(finished / loop)
    assert kept.files == script.files and len(kept.files) >= 5
    for name, content in script.files.items():
        assert (finished / loop / "code" / name).read_bytes() == content == (ROOT / name).read_bytes()


@pytest.mark.parametrize(("which", "status"), [("finished", 0), ("broken", 1)])
def test_a_divergence_is_an_answer_with_a_status_of_its_own(
    which: str, status: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue(which)
    comparison = read_comparison(folder)
    monkeypatch.setattr("benchmarks.cli.compare", lambda *arguments: comparison)
    assert main(["compare", "--preset", "tiny", "--no-report", "--output-dir", str(folder)]) == status


def test_what_is_kept_is_what_ran(broken: Path) -> None:
    assert kept_script(broken / "manual").source == BROKEN.source != package_script("manual").source


def test_what_was_changed_in_the_folder_is_refused(run: Path) -> None:
    (run / "manual/code/manual_loop/forward.py").write_text("")
    with pytest.raises(SameLoopError, match="is not what ran, it has been changed"):
        kept_script(run / "manual")


def test_two_versions_of_a_page_do_not_mix(tmp_path: Path) -> None:
    """Each with its own helper modules, one inside the other; afterwards the process has what it had."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("manual_loop")}
    loaded = []
    for mark in ("one", "two"):
        script = package_script("manual").edited("import math\n", f"import math\nMARK = '{mark}'\n")
        forward = script.files["manual_loop/forward.py"] + f"\nMARK = '{mark}'\n".encode()
        LoopScript(script.name, {**script.files, "manual_loop/forward.py": forward}, script.paths, script.shared).keep(
            tmp_path / mark
        )
        loaded.append(kept_script(tmp_path / mark))
    with loaded[0].loaded() as first:
        with loaded[1].loaded() as two:
            assert (first.MARK, two.MARK) == ("one", "two")
            assert sys.modules["manual_loop.forward"].MARK == "two" == two.forward.__globals__["MARK"]
        assert sys.modules["manual_loop.forward"].MARK == "one" == first.forward.__globals__["MARK"]
    assert {name: module for name, module in sys.modules.items() if name.startswith("manual_loop")} == before
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"page": "my_loop.py"}, "it ran the loop's file my_loop.py, not manual_loop/train.py"),
        ({"digest": "0"}, "the file manual_loop/train.py has changed since"),
        ({"shared": "0"}, "SameLoop's own modules have changed since"),
    ],
)
def test_what_has_changed_is_named(change: dict[str, str], says: str | None) -> None:
    code = package_script("manual").code
    assert what_changed(code | change, code) == says
    assert "older version" in what_changed(None, code)


# Resuming -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_is_not_gone_on_with_by_another_page(loop: str, tmp_path: Path) -> None:
    interrupted(loop, tmp_path / "run")
    with pytest.raises(SameLoopError, match=rf"the file {loop}_loop/train.py has changed since.*put the file back"):
        run_in_process(loop, CONFIG, tmp_path / "run", script=EDITED[loop], resume_from_checkpoint="last")
    manifest = tmp_path / "run/checkpoint-3" / MANIFEST
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"code": content["code"] | {"shared": "0"}}))
    with pytest.raises(SameLoopError, match="SameLoop's own modules have changed since"):
        run_in_process(loop, CONFIG, tmp_path / "run", resume_from_checkpoint="last")
    manifest.write_text(json.dumps(content | {"code": None}))
    with pytest.raises(SameLoopError, match="an older version made it"):
        run_in_process(loop, CONFIG, tmp_path / "run", resume_from_checkpoint="last")


@pytest.mark.parametrize("edited", LOOPS)
def test_a_comparison_goes_on_but_with_no_page_that_has_changed(
    edited: str, tmp_path: Path, monkeypatch, capfd
) -> None:
    """Ctrl-C in the trainer loop; one page is edited; the other loop's half or checkpoint is used."""
    run = tmp_path / "run"
    run_in_process("manual", CONFIG, run / "manual")
    interrupted("trainer", run / "trainer")
    use_scripts(monkeypatch, **{edited: EDITED[edited]})
    capfd.readouterr()
    comparison = compare(CONFIG, run)
    lines = said(capfd.readouterr().err)
    assert f"the file {edited}_loop/train.py has changed since: starting it again" in lines
    assert (f"it is done already, in {run / 'manual'}" in lines) == (edited == "trainer")
    assert any(line.startswith("resuming from") for line in lines) == (edited == "manual")
    assert comparison["verdict"] == "diverged"
    for loop in LOOPS:
        script = EDITED[loop] if loop == edited else package_script(loop)
        assert kept_code(run / loop) == script.code
        assert [line["step"] for line in RunRecord.read(run / loop).steps] == list(range(1, 9))


def test_a_page_edited_after_ctrl_c_in_the_manual_loop(tmp_path: Path, monkeypatch, capfd) -> None:
    """Never half old, half new: it starts again, and says so."""
    interrupted("manual", tmp_path / "run/manual")
    use_scripts(monkeypatch, manual=BROKEN)
    compare(CONFIG, tmp_path / "run")
    assert "the file manual_loop/train.py has changed since: starting it again" in said(capfd.readouterr().err)
    assert RunRecord.read(tmp_path / "run/manual").resumes == []
    assert kept_script(tmp_path / "run/manual").source == BROKEN.source


# Reusing a half -----------------------------------------------------------------------------------


def test_reuse_keeps_the_half_that_nothing_has_changed_for(run: Path, monkeypatch, capfd) -> None:
    kept = (run / "trainer/record.jsonl").read_bytes()
    use_scripts(monkeypatch, manual=BROKEN)
    assert compare(CONFIG, run, reuse=True)["verdict"] == "diverged"
    lines = said(capfd.readouterr().err)
    assert (
        "--reuse: the manual loop's run here cannot be kept (the file manual_loop/train.py has changed since)" in lines
    )
    assert (run / "trainer/record.jsonl").read_bytes() == kept
    assert kept_script(run / "manual").source == BROKEN.source
    assert not run.with_name("run.previous").exists()


def test_reuse_is_offered_where_it_is_possible(run: Path, monkeypatch, capfd) -> None:
    before = (run / "trainer/record.jsonl").read_bytes()
    use_scripts(monkeypatch, manual=BROKEN)
    compare(CONFIG, run)
    offer = "the trainer loop's run here is unchanged: --reuse keeps it and saves half the time"
    assert offer in said(capfd.readouterr().err)
    assert (run / "trainer/record.jsonl").read_bytes() != before
    compare(CONFIG, run)
    assert "both loops' runs here are unchanged: --reuse keeps both" in said(capfd.readouterr().err)


def test_reuse_of_both_halves_runs_nothing(run: Path, monkeypatch) -> None:
    before = {loop: (run / loop / "record.jsonl").read_bytes() for loop in LOOPS}
    use_scripts(monkeypatch)
    monkeypatch.setattr(compare_module, "run_in_fresh_process", None)
    assert compare(CONFIG, run, reuse=True)["verdict"] == "identical"
    assert {loop: (run / loop / "record.jsonl").read_bytes() for loop in LOOPS} == before


def test_a_new_run_that_fails_takes_nothing_away(run: Path, monkeypatch) -> None:
    before = tree(run)
    use_scripts(monkeypatch, manual=package_script("manual").edited(ZERO, "            optimiser.zero_grad()\n"))
    with pytest.raises(SameLoopError, match=r"your loop, line \d+: NameError"):
        compare(CONFIG, run, reuse=True)
    assert tree(run) == before


NOT_REUSED = {
    "dials": (CONFIG.model_copy(update={"seed": 1}), {}, "--seed 42, not 1"),
    "versions": (CONFIG, {"torch": "1.0"}, "torch 1.0, now "),
    "threads": (CONFIG, {"threads": 99}, "threads 99, now "),
}


@pytest.mark.parametrize(("config", "environment", "says"), NOT_REUSED.values(), ids=NOT_REUSED)
def test_a_half_made_under_other_conditions_is_not_reused(
    config: RunConfig, environment: dict, says: str, run: Path, capfd
) -> None:
    for loop in LOOPS:
        first, *rest = (run / loop / "record.jsonl").read_text().splitlines(keepends=True)
        header = json.loads(first)
        header["environment"].update(environment)
        (run / loop / "record.jsonl").write_text(json.dumps(header) + "\n" + "".join(rest))
    scripts = {loop: package_script(loop) for loop in LOOPS}
    assert compare_module._reusable(run, config, scripts, 1, reuse=True) == []
    assert capfd.readouterr().err.count(f"cannot be kept ({says}") == 2
    assert compare_module._reusable(run, config, scripts, 1, reuse=False) == []
    assert "--reuse" not in capfd.readouterr().err


def test_a_half_trained_on_a_file_that_has_changed_is_not_reused(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 20)
    config = RunConfig.build("tiny", dataset=str(tmp_path / "reviews.csv"), train_size=16, eval_size=8)
    run_in_process("manual", config, tmp_path / "run")
    script = package_script("manual")
    assert compare_module._why_not_the_same(tmp_path / "run", config, script) is None
    before = (tmp_path / "reviews.csv").stat()
    (tmp_path / "reviews.csv").write_text("text,label\n" + "fine,1\nbad,0\n" * 20)
    os.utime(tmp_path / "reviews.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "reviews.csv has changed since" in compare_module._why_not_the_same(tmp_path / "run", config, script)


# Looking at a run later ---------------------------------------------------------------------------


def test_the_report_shows_and_x_rays_what_ran(broken: Path) -> None:
    """By now the page is whole again: "identical" above it would be a lie."""
    html = write_report(broken).read_text(encoding="utf-8")
    assert "The two loops diverge at step" in html and "Their events differ" in html
    row = html[html.index('id="row-zero"') :]
    assert (
        "nothing in the manual loop" in row[: row.index('aria-label="zero, Trainer"')]
        and "manual_loop/train.py" in html
    )


def test_the_xray_of_a_run_uses_its_pages_and_settings(broken: Path, refusal, capfd) -> None:
    assert main(["xray", str(broken)]) == 1
    assert "not the same events, first: manual nothing; Trainer zero" in " ".join(capfd.readouterr().out.split())
    result = xray(CONFIG, scripts=kept_scripts(broken))
    frames = {script_frame(pair.manual, result.script) for pair in result.pairs if pair.manual}
    assert all(BROKEN.source.splitlines()[frame.line - 1].strip() == frame.code for frame in frames)
    assert "--preset: the x-ray of" in refusal("xray", str(broken), "--preset", "tiny")


def test_diff_of_a_run_shows_its_pages(broken: Path, capsys) -> None:
    assert main(["diff", str(broken)]) == 0
    assert "zero_grad" not in capsys.readouterr().out
    assert main(["diff"]) == 0
    assert "zero_grad" in capsys.readouterr().out


def in_this_process(loop: str, config: RunConfig, folder: Path, nproc: int, *options: str, server: None) -> None:
    """In the place of `run_in_fresh_process`."""
    command = command_line(loop, config, folder, *options)
    assert main([loop, *command[command.index(f"sameloop {loop}") + 1 :]]) == 0


def test_locate_runs_what_ran(broken: Path, monkeypatch, capfd) -> None:
    """Today's pages are equal; those that ran are not."""

    monkeypatch.setattr("benchmarks.locate.run_in_fresh_process", in_this_process)
    monkeypatch.setattr("benchmarks.locate.ready_to_fork", lambda *arguments: nullcontext())
    assert main(["locate", str(broken)]) == 1
    captured = capfd.readouterr()
    assert "step 2: the first tensor that differs is the gradient of" in captured.out
    # The folders that it ran in are gone.
    assert str(Path("/tmp")) not in captured.err


def test_a_run_that_has_kept_no_code(broken: Path, tmp_path: Path, refusal) -> None:
    """An older version's: no x-ray and no locating, but a report without code."""
    run = tmp_path / "run"
    shutil.copytree(broken, run)
    (run / "manual/code.json").unlink()
    for command in ("locate", "diff", "xray"):
        assert "keeps no code (an older version made it): run it again" in refusal(command, str(run))
    html = write_report(run).read_text(encoding="utf-8")
    assert "keeps no code" in html and 'id="pane-manual"' not in html


def test_the_report_of_a_page_that_cannot_be_traced(broken: Path, monkeypatch) -> None:
    def raises(*_: object, **__: object) -> None:
        raise SameLoopError("your loop, line 3: ValueError: no (here)")

    monkeypatch.setattr("benchmarks.lesson.report.xray", raises)
    html = write_report(broken).read_text(encoding="utf-8")
    assert "your loop, line 3: ValueError: no (here)" in html and 'id="manual-40"' in html


# Where the modules come from ----------------------------------------------------------------------


@pytest.mark.usefixtures("started_again")
def test_an_installed_package_inside_a_checkout_runs_its_own_page(tmp_path: Path) -> None:
    """A child runs what its parent has, whatever else the path or the folder holds: about 5 seconds."""
    site, checkout = tmp_path / "site", tmp_path / "checkout"
    for package in ("benchmarks", "manual_loop", "shared", "trainer_loop"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    script = site / "manual_loop/train.py"
    script.write_text(script.read_text() + "# the installed one\n")
    for package in ("manual_loop", "shared"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "manual_loop/train.py").write_text("raise RuntimeError('the checkout')\n")
    code = f"""
import sys
sys.path[:] = [{str(site)!r}, *(each for each in sys.path if each)]
from benchmarks.runs import run_in_fresh_process
from pathlib import Path
from shared.config import RunConfig
run_in_fresh_process("manual", RunConfig.build("tiny"), Path("run"))
"""
    finished = ran(sys.executable, "-c", code, cwd=checkout)
    assert finished.returncode == 0, finished.stderr
    assert kept_script(checkout / "run").source.endswith("# the installed one\n")


# What is there now is not what was compared ------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("manual/model.safetensors", lambda content: content[:-7], "has changed since"),
        ("trainer/model.safetensors", lambda content: content[:-7] + b"\xff" + content[-6:], "has changed since"),
        ("manual/record.jsonl", lambda content: content.replace(b'"seed": 42', b'"seed": 41'), "has changed since"),
        ("comparison.json", lambda content: content[:-9], "is damaged"),
        (
            "comparison.json",
            lambda content: content.replace(b'"identical"', b'"same"'),
            "of another version (verdict",
        ),
        ("comparison.json", lambda content: b"[" * 10**6, "is damaged"),
        ("comparison.json", lambda content: content.replace(b'"record"', b'"tape"', 1), "record: Field required"),
    ],
)
def test_an_old_verdict_is_not_certified(file: str, damage, said: str, run: Path, refusal) -> None:
    content = (run / file).read_bytes()
    assert damage(content) != content
    (run / file).write_bytes(damage(content))
    assert said in refusal("report", str(run))
    assert not (run / "report.html").exists() or (run / "report.html").stat().st_mtime < (run / file).stat().st_mtime


def test_a_verdict_written_into_the_file_by_hand_is_believed_by_nobody(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    run = tmp_path / "run"
    shutil.copytree(broken, run)
    before = read_comparison(run)
    assert before["verdict"] == "diverged"
    content = json.loads((run / "comparison.json").read_text())
    edited = {**content, "verdict": "identical", "first_divergence": None}
    (run / "comparison.json").write_text(json.dumps(edited))
    assert read_comparison(run) == before == content
    assert "says identical, but its runs are diverged" in capfd.readouterr().err
    monkeypatch.setattr("benchmarks.locate.run_in_fresh_process", in_this_process)
    monkeypatch.setattr("benchmarks.locate.ready_to_fork", lambda *arguments: nullcontext())
    assert main(["locate", str(run)]) == 1

    def raises(*_: object, **__: object) -> None:
        raise SameLoopError("not traced")

    monkeypatch.setattr("benchmarks.lesson.report.xray", raises)
    assert "The two loops diverge at step 2" in write_report(run).read_text(encoding="utf-8")


def test_one_loop_run_anew_with_other_settings_is_not_certified(run: Path, refusal) -> None:
    config = RunRecord.read(run / "manual").config
    run_in_process("manual", config.model_copy(update={"seed": 7}), run / "manual", overwrite=True)
    assert "manual/model.safetensors has changed since it was compared" in refusal("report", str(run))
