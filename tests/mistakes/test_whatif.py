"""The lesson in the report: rows of matching lines, why a line is there, and what was measured without it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.check.rubric import ITEMS
from benchmarks.judge.finding import PHASE_OF_TOPIC
from benchmarks.judge.phases import PHASES
from benchmarks.lesson.code_rows import phase_at_fault, rows_of
from benchmarks.lesson.pictures import small_chart, smooth
from benchmarks.lesson.whatif import ANSWERS, FILE, read_measured
from benchmarks.lesson.xray import xray
from benchmarks.mistakes.catalogue import QUESTIONS
from benchmarks.mistakes.ladder import script_without
from benchmarks.pages.fold import folded_source
from benchmarks.proofs.measuring import write_by_line
from benchmarks.proofs.whatif import changed, first_seen, run_script, scripts_of_question, what_if_of
from shared.config import RunConfig
from shared.running.folder import LOOPS
from shared.running.script import own_script, scripts_of

# Not part of the training, or nothing without a setting that is off by default.
WITHOUT = ("page", "imports", "function", "arguments", "wrapping", "determinism")


def sources_of(config: RunConfig) -> dict[str, str]:
    return {loop: folded_source(script, config) for loop, script in scripts_of(config).items()}


@pytest.fixture(scope="module")
def quick_sources() -> dict[str, str]:
    return sources_of(RunConfig.build("quick"))


def test_every_phase_says_why_and_what_happens_without_it(quick_sources: dict[str, str]) -> None:
    rows = rows_of(quick_sources, None)
    phases = {row.phase.name for row in rows} - set(WITHOUT)
    measured = read_measured()
    assert len(phases) >= 20
    for phase in PHASES:
        if phase.name not in WITHOUT:
            assert phase.why and measured.what_ifs[phase.name].sentence.startswith("Tried: ")
    assert phases <= set(measured.what_ifs)
    assert sum(each.asked for each in measured.what_ifs.values()) == 8
    # A question whose answers are all the same teaches nothing, and each must be among the choices.
    answers = {each.quantity for each in measured.what_ifs.values() if each.asked}
    assert len(answers) >= 4 and answers <= set(ANSWERS)


def test_what_was_measured_is_kept_a_line_for_each_phase(tmp_path: Path) -> None:
    measured = read_measured()
    write_by_line(tmp_path / "kept.json", asdict(measured), "what_ifs")
    assert (tmp_path / "kept.json").read_bytes() == FILE.read_bytes()
    assert len(FILE.read_text(encoding="utf-8").splitlines()) == len(measured.what_ifs) + 2


@pytest.mark.parametrize("phase", QUESTIONS)
def test_what_was_measured_is_what_the_page_is_today(phase: str) -> None:
    """`make whatif` measures again."""
    kept, question = read_measured().what_ifs[phase], QUESTIONS[phase]
    assert kept.diff == changed(*scripts_of_question(phase))
    assert (kept.without, kept.asked) == (question.without, question.asked)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("whole") / "page" / "run"
    return run_script(scripts_of_question("zero", "tiny")[0], {}, "tiny", folder), folder


@pytest.mark.parametrize(
    ("phase", "quantity", "step"),
    [("zero", "gradient norm", 2), ("train mode", "loss", 1), ("schedule step", "learning rate", 2)],
)
def test_what_differs_first_is_measured(whole, tmp_path: Path, phase: str, quantity: str, step: int) -> None:
    scripts, folder = scripts_of_question(phase, "tiny"), tmp_path / "page" / "run"
    found = what_if_of(phase, scripts, whole, (run_script(scripts[1], {}, "tiny", folder), folder))
    assert (found.quantity, found.step) == (quantity, step) and not found.same_weights
    assert f"First difference: the {quantity} of step {step}, " in found.sentence
    assert len(found.seen.loss) == 16 and small_chart(found)


def test_of_two_runs_that_are_the_same_nothing_differs(whole) -> None:
    found = what_if_of("progress", scripts_of_question("progress", "tiny"), whole, whole)
    assert (found.quantity, found.step, found.same_weights) == ("nothing", None, True)
    assert "No loss, norm or weight differs." in found.sentence


def test_a_page_that_leaves_nothing_is_said_to_leave_nothing(whole, tmp_path: Path) -> None:
    scripts, folder = scripts_of_question("save", "tiny"), tmp_path / "page" / "run"
    found = what_if_of("save", scripts, whole, (run_script(scripts[1], {}, "tiny", folder), folder))
    assert "the function train saved no model" in found.sentence and str(tmp_path) not in found.sentence
    assert small_chart(found) is None


def test_fewer_steps_are_a_difference(whole) -> None:
    from shared.recording.record import RunRecord

    record = RunRecord.read(whole[1])
    cut = RunRecord([line for line in record.lines if line.get("step", 0) <= 10], "cut")
    assert first_seen(record, cut) == ("number of steps", 11, [16, 10])


def test_losses_are_smoothed_over_eight_steps() -> None:
    assert smooth([1.0] * 8 + [9.0]) == [1.0, 2.0]
    assert smooth([1.0, 3.0]) == [2.0] and smooth([]) == []


def test_twins_share_a_row_and_the_page_by_hand_keeps_its_order(quick_sources: dict[str, str]) -> None:
    rows = rows_of(quick_sources, None)
    numbers = [number for row in rows for number, _ in row.manual]
    assert numbers == sorted(numbers)
    for loop in LOOPS:
        written = {n for n, line in enumerate(quick_sources[loop].splitlines(), start=1) if line.strip()}
        assert written <= {number for row in rows for number, _ in getattr(row, loop)}
    for row in rows:
        assert row.is_first or not row.trainer
    both = {row.phase.name for row in rows if row.manual and row.trainer}
    assert {"seed", "data", "shuffle", "collator", "optimizer", "clip", "evaluate", "save"} <= both


@pytest.fixture(scope="module")
def course_loop(tmp_path_factory: pytest.TempPathFactory):
    """The x-ray of a page without comments that name phases, which does not clip."""
    file = tmp_path_factory.mktemp("course") / "loop.py"
    file.write_text(script_without(["clip"]).source, encoding="utf-8")
    config = RunConfig.build("tiny", max_grad_norm=1.0, loop=str(file))
    scripts = {**scripts_of(RunConfig.build("tiny")), "manual": own_script(file)}
    found = xray(config, scripts=scripts)
    return found, rows_of({loop: folded_source(script, config) for loop, script in scripts.items()}, found)


def test_a_page_without_comments_is_lined_up_by_what_its_lines_do(course_loop) -> None:
    _, rows = course_loop
    code = {row.phase.name: "".join(line.striptags() for _, line in row.manual) for row in rows if row.is_first}
    assert "loss.backward()" in code["backward"] and "optimizer.step()" in code["step"]
    assert "model.train()" in code["train mode"] and "AdamW" in code["optimizer"]
    assert "model.eval()" in code["evaluate"] and "eval_loader" in code["evaluate"]
    instead = {row.phase.name: row.instead for row in rows if not row.manual}
    assert instead["clip"] == "nothing in the manual loop"
    assert "SameLoop does it" in instead["model"] and "another row" in instead["shuffle"]


def test_a_missing_line_has_a_row_where_it_belongs(course_loop) -> None:
    found, rows = course_loop
    names = [row.phase.name for row in rows]
    assert names.index("backward") < names.index("clip") < names.index("step")
    clip = rows[names.index("clip")]
    assert not clip.manual and clip.trainer and "trainer.py" in clip.inside[0]
    first = {"quantity": "grad_norm", "findings": [{"code": "clip.missing", "phase": "clip"}]}
    assert phase_at_fault({"first_divergence": first}, found, rows) == "clip"
    assert phase_at_fault({"first_divergence": None}, found, rows) is None


@pytest.mark.parametrize(
    ("quantity", "code", "phase"),
    [
        ("mode", "mode.eval", "train mode"),
        ("batch", "shuffle.seed", "shuffle"),
        ("eval_loss", "evaluate.mean_of_means", "evaluate"),
        ("grad_norm", "zero.missing", "zero"),
        ("logged loss", "log.training", "log"),
        ("grad_norm", "clip.not_decided", "clip"),
        ("eval_logits", "weights.between", "evaluate"),
    ],
)
def test_the_row_of_a_first_difference(quick_sources, quantity: str, code: str, phase: str) -> None:
    rows = rows_of(quick_sources, None)
    cause = {"code": code, "phase": PHASE_OF_TOPIC[code.partition(".")[0]]}
    found = phase_at_fault({"first_divergence": {"quantity": quantity, "findings": [cause]}}, None, rows)
    assert found == phase


def test_every_phase_that_a_cause_may_speak_of_is_one() -> None:
    assert set(PHASE_OF_TOPIC.values()) <= {*ITEMS, "model", "weights", "environment"}
