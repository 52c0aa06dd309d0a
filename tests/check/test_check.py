"""`sameloop check`: right loops pass however they are written, and each mistake fails only its own phase."""

from __future__ import annotations

import ast
from pathlib import Path
from string import Formatter

import pytest
import torch

from benchmarks.check.check import cause_sentences, check, check_diverged, check_script
from benchmarks.check.job import job_config, make_job
from benchmarks.check.notes import BOUND
from benchmarks.check.recording import RecordingError, RecordingWriter, read_recording
from benchmarks.check.rubric import FAILED, GOOD, IDENTICAL, ITEMS, make_rubric
from benchmarks.check.sentences import SENTENCES
from benchmarks.check.subsets import Subset
from benchmarks.judge.finding import Finding
from benchmarks.judge.phases import PHASES
from benchmarks.mistakes.catalogue import MISTAKES
from benchmarks.mistakes.mistake import MINIMAL, right_script
from benchmarks.proofs.checks import COURSE, COURSE_ITEMS, LOOPS, WRONG, judge_mistake, judge_wrong, right_loops
from benchmarks.proofs.checks import right_settings as settings
from shared.config import METRIC_SCHEDULES, RunConfig
from shared.errors import SameLoopError
from shared.running.script import own_script, package_script
from shared.starting.children import ROOT

RIGHT = [file.stem for file in right_loops()]
IN_MINIMAL = [name for name, mistake in MISTAKES.items() if mistake.pieces]
HOSTILE = sorted(file.stem for file in (LOOPS / "hostile").glob("*.py"))
# One of each kind of difference in style, in every `make test`; the slow tests have all.
SOME_RIGHT = ("06_pad_sequence_randperm", "13_autograd_grad")
SOME_MISTAKES = (
    *("no_mask", "short_group", "step_outside", "clip_every_batch", "seed_in_every_step", "zero_before_step"),
    "shuffle_true",  # no mistake: a check allows another order
    "stray_draw",  # nor other draws
)


def script_named(name: str):
    return own_script(next(file for file in right_loops() if file.stem == name))


def assert_right(name: str) -> None:
    result = check_script(script_named(name))
    assert result.failures == [] and result.verdict in GOOD, (result.why, result.rubric)
    # The bound is far from what rounding does.
    assert result.rounding < BOUND / 50


def assert_only_its_phase_fails(name: str) -> None:
    judged = judge_mistake(MISTAKES[name])
    assert judged.is_right, (judged.result.why, judged.result.rubric)


def test_the_full_loop_and_the_minimal_loop_are_identical() -> None:
    for script in (package_script("manual"), own_script(MINIMAL)):
        result = check_script(script)
        assert (result.verdict, result.score, result.most) == (IDENTICAL, len(ITEMS), len(ITEMS))


@pytest.mark.parametrize("name", SOME_RIGHT)
def test_a_right_loop_written_another_way_passes(name: str) -> None:
    assert_right(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RIGHT if name not in SOME_RIGHT])
def test_every_right_loop_passes(name: str) -> None:
    """All of them, 17: half a minute."""
    assert_right(name)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", settings(), ids=lambda mistake: mistake.name)
def test_what_a_mistake_is_planted_in_is_right(mistake) -> None:
    """The gallery's loops before their mistakes are planted: 8 seconds."""
    assert check_script(right_script(mistake), mistake.settings).verdict in GOOD


@pytest.mark.parametrize("name", SOME_MISTAKES)
def test_a_mistake_fails_its_phase_and_no_other(name: str) -> None:
    assert_only_its_phase_fails(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, mistake in MISTAKES.items() if mistake.pieces and name not in SOME_MISTAKES]
)
def test_every_mistake_fails_its_phase_and_no_other(name: str) -> None:
    """The rest of those in the minimal loop: two minutes."""
    assert_only_its_phase_fails(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loop_of_another_author_fails_where_it_is_wrong(name: str) -> None:
    """13 loops: 25 seconds."""
    judged = judge_wrong(name)
    assert judged.result.verdict == "different"
    assert sorted(judged.result.failures) == sorted(judged.expected)


def test_a_loop_obeys_the_schedules_own_arguments(tmp_path: Path) -> None:
    settings = {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}}
    scheduled = COURSE.read_text().replace('"linear", ', "config.lr_scheduler_type, ")
    assert scheduled != COURSE.read_text()
    obeyed = scheduled.replace("=num_training_steps\n", "=num_training_steps,\n**own(config)\n")
    obeyed += "\n\ndef own(config):\n    return {'scheduler_specific_kwargs': config.lr_scheduler_kwargs}\n"
    for text, failed in ((scheduled, ["schedule step"]), (obeyed, [])):
        (tmp_path / "loop.py").write_text(text)
        result = check_script(own_script(tmp_path / "loop.py"), settings)
        assert sorted({*result.failures} - {*COURSE_ITEMS}) == failed


@pytest.mark.parametrize("name", METRIC_SCHEDULES)
def test_a_schedule_that_follows_an_evaluation_is_refused(name: str) -> None:
    with pytest.raises(SameLoopError, match=f"--lr-scheduler-type {name}: it follows the evaluation"):
        job_config(lr_scheduler_type=name)


def test_the_courses_loop_fails_three_phases_and_nothing_else() -> None:
    result = check_script(own_script(COURSE))
    assert sorted(result.failures) == sorted(COURSE_ITEMS)
    causes = {row["item"]: row["cause"] for row in result.rubric}
    assert "0.01 is torch's own default" in causes["optimizer"] and "unclipped" in causes["clip"]


ORDER = "    sampler = RandomSampler(train_dataset, generator=generator)\n"
RESEED = "        generator.manual_seed(config.seed + epoch)  # as Trainer does for every epoch\n"
DRAWN_ONCE = "    sampler = torch.randperm(len(train_dataset)).tolist()\n"
EVALUATE, RETURN = "        model.eval()\n", "    return evaluations\n"
DESTROY = "for p in model.parameters():\n                p.data.zero_()\n"
# Ways in which each step of a loop is right, but the training is not.
AROUND_THE_STEPS = {
    "an order that is reversed": ({ORDER: DRAWN_ONCE, RESEED: "        sampler.reverse()\n"}, ["shuffle.moved"]),
    "an order that is shifted": (
        {ORDER: DRAWN_ONCE, RESEED: "        sampler.append(sampler.pop(0))\n"},
        ["shuffle.moved"],
    ),
    "only its batches are shuffled": (
        {
            ORDER: "    size = config.per_device_train_batch_size\n"
            "    rows = list(range(len(train_dataset)))\n"
            "    parts = [rows[n : n + size] for n in range(0, len(rows) - size, size)]\n"
            "    sampler = rows[:]\n",
            RESEED: "        mixed = [parts[n] for n in torch.randperm(len(parts)).tolist()]\n"
            "        sampler[:] = [row for part in mixed for row in part] + rows[len(parts) * size :]\n",
        },
        ["shuffle.moved"],
    ),
    "weights that are destroyed at the end": (
        {RETURN: "    if evaluations:\n            " + DESTROY + RETURN},
        ["weights.end"],
    ),
    "weights that are destroyed before the last evaluation, after a pass that is not needed": (
        {EVALUATE: "        if epoch == epochs - 1:\n            model(**batch)\n            " + DESTROY + EVALUATE},
        ["weights.end", "evaluate.weights"],
    ),
}


@pytest.mark.parametrize("name", AROUND_THE_STEPS)
def test_a_mistake_around_right_steps_is_found(name: str) -> None:
    pieces, codes = AROUND_THE_STEPS[name]
    script = own_script(MINIMAL)
    for right, wrong in pieces.items():
        script = script.edited(right, wrong)
    assert [row["code"] for row in check_script(script).rubric if row["code"]] == codes


def test_the_best_weights_may_be_put_back() -> None:
    script = own_script(MINIMAL).edited(
        EVALUATE,
        "        kept = kept if epoch else {n: p.clone() for n, p in model.state_dict().items()}\n" + EVALUATE,
    )
    assert check_script(script.edited(RETURN, "    model.load_state_dict(kept)\n" + RETURN)).verdict == IDENTICAL


def test_a_loop_that_trains_under_another_file_name_fails(tmp_path: Path) -> None:
    """Code can be compiled under any name, but the module that it belongs to is seen, too."""
    file = tmp_path / "loop.py"
    file.write_text(
        "import importlib.util, sys\n"
        "def train(model, tokenizer, train_dataset, eval_dataset, config):\n"
        "    spec = importlib.util.find_spec('manual_loop.minimal')\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    code = compile(open(spec.origin).read(), __file__, 'exec')\n"
        "    exec(code, vars(module))\n"
        "    return module.train(model, tokenizer, train_dataset, eval_dataset, config)\n",
        encoding="utf-8",
    )
    result = check(file)
    assert result.verdict == FAILED and "SameLoop's own loop" in result.why, result.why


def test_a_loop_that_crashes_has_failed_and_says_where() -> None:
    script = own_script(MINIMAL).edited("    return evaluations", "    return evaluations[99]")
    result = check_script(script)
    assert result.verdict == FAILED and result.score == len(ITEMS) - 1
    assert "IndexError" in result.why and "evaluations[99]" in result.why
    assert next(row["status"] for row in result.rubric if row["item"] == "clip") == "pass"


def test_an_empty_loop_has_failed() -> None:
    script = own_script(MINIMAL).edited(
        "    set_seed(config.seed)", "    return [{'eval_loss': 0.1, 'eval_accuracy': 1.0}] * 2"
    )
    result = check_script(script)
    assert result.verdict == FAILED and "no training was seen" in result.why


def test_the_phases_that_a_loop_is_judged_by_have_a_question_and_a_gap() -> None:
    for phase in PHASES:
        assert bool(phase.hint) == bool(phase.gap) == (phase.name in ITEMS), phase.name
        assert phase.why or not phase.hint
    assert set(ITEMS) <= {phase.name for phase in PHASES}


def test_a_check_in_a_process_of_its_own_gives_the_same() -> None:
    result = check(MINIMAL)
    assert (result.verdict, result.failures) == (IDENTICAL, [])
    # A torch that is built for CUDA takes more memory when it is imported.
    assert result.peak_mb < (700 if torch.version.cuda is None else 900)
    assert result.output == ""


def test_a_loop_that_diverges_is_checked_with_the_comparisons_arguments() -> None:
    """The minimal loop is right, but for accumulated batches, which it does not know."""
    result = check_diverged(MINIMAL, RunConfig.build("tiny", gradient_accumulation_steps=2))
    assert [row["code"] for row in result.rubric if row["code"]] == ["loss.scale", "step.number"]
    assert len(cause_sentences(result)) == 2


@pytest.mark.parametrize("name", ["08_writes_outside"])
def test_a_forbidden_act_is_refused_and_reported(name: str) -> None:
    result = check(LOOPS / "hostile" / f"{name}.py")
    assert result.verdict == FAILED and "it tried to write to" in result.why


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_loop_passes(name: str) -> None:
    """Each in a process of its own, 22 of them: four minutes."""
    result = check(LOOPS / "hostile" / f"{name}.py", seconds=40, megabytes=1500)
    assert result.verdict not in GOOD
    assert result.score < result.most


def test_a_missing_file_is_reported_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SameLoopError, match="there is no such file"):
        check(tmp_path / "none.py")
    with pytest.raises(SameLoopError, match="a check has no option --bf16"):
        check(MINIMAL, {"bf16": True})


def test_a_damaged_recording_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    with path.open("wb") as file:
        writer = RecordingWriter(file)
        writer.write("weights", {}, {"a": torch.ones(3)})
        writer.write("step", {"graphs": 1})
    whole = path.read_bytes()
    events = list(read_recording(path))
    assert [event.kind for event in events] == ["weights", "step"]
    assert torch.equal(events[0].tensors()["a"], torch.ones(3))
    path.write_bytes(whole[:-5])
    assert [event.kind for event in read_recording(path)] == ["weights"]
    path.write_bytes(whole.replace(b'"kind"', b'"kinx"'))
    with pytest.raises(RecordingError):
        list(read_recording(path))
    with pytest.raises(RecordingError):
        events[1]["optimizer"]


def test_the_job_is_one_under_which_mistakes_show() -> None:
    job = make_job(job_config())
    subsets = [Subset(rows, job.tokenizer.pad_token_id) for rows in (job.train_dataset, job.eval_dataset)]
    sizes = job.config.per_device_train_batch_size, job.config.per_device_eval_batch_size
    assert all(len(subset) % size for subset, size in zip(subsets, sizes, strict=True))
    written = {"seed": 42, "num_train_epochs": 3, "learning_rate": 1e-3}
    assert all(getattr(job.config, name) != value for name, value in written.items())
    assert 8 not in sizes and 16 not in sizes and job.config.max_grad_norm == 1.0


def test_a_row_per_item_and_the_first_finding_counts() -> None:
    findings = [Finding("clip.missing", 1, "first"), Finding("clip.limit", 2, "second")]
    rows = {row["item"]: row for row in make_rubric(findings, {"clip", "step"}, {"step": 3})}
    assert tuple(rows) == ITEMS
    assert (rows["clip"]["status"], rows["clip"]["cause"], rows["clip"]["points"]) == ("fail", "first", 0)
    assert (rows["step"]["status"], rows["step"]["points"]) == ("pass", 3)
    assert rows["zero"]["status"] == "not reached"


def test_every_sentence_is_said_and_with_all_that_it_names() -> None:
    files = [file for file in (ROOT / "benchmarks" / "check").glob("*.py") if file.name != "sentences.py"]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    assert SENTENCES.keys() <= {node.value for node in nodes if isinstance(node, ast.Constant)}
    said = 0
    for call in nodes:
        if not isinstance(call, ast.Call) or getattr(call.func, "attr", "") not in ("add", "add_difference"):
            continue
        code, given = getattr(call.args[0], "value", None), {word.arg for word in call.keywords}
        if code in SENTENCES and len(call.args) < 5 and "text" not in given:
            said += 1
            assert {field for _, field, *_ in Formatter().parse(SENTENCES[code]) if field} <= given, code
    assert said > 30
