"""Somebody's own Trainer script: the loop that is written for it is identical, and what is wrong is one line.

`make ported-table` tries all of tests/scripts; here are those that differ most from each other.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_script import TRAINED, small

from benchmarks.cli import main
from benchmarks.port.arguments import valid_settings
from benchmarks.port.side import Script, Side, sides_of
from benchmarks.proofs.ported import CASES, SCRIPTS, Case, try_case
from shared.config import RunConfig
from shared.errors import Interrupted, SameLoopError
from shared.files import read_json
from shared.recording.record import RunRecord


def case_of(file: str) -> Case:
    return next(case for case in CASES if case.file == file)


@pytest.mark.parametrize("file", ["weighted.py", "mlm_style.py", "distillation.py", "own_optimizer.py", "pairs.py"])
def test_the_loop_is_identical_runs_by_itself_and_a_mistake_in_it_is_found(file: str, tmp_path: Path) -> None:
    outcome = try_case(case_of(file), tmp_path)
    assert (outcome.verdict, outcome.alone, outcome.is_right) == ("identical", True, True), outcome


@pytest.mark.parametrize("file", ["unfreeze.py", "neftune.py"])
def test_what_is_not_carried_over_is_named(file: str, tmp_path: Path) -> None:
    outcome = try_case(case_of(file), tmp_path)
    assert outcome.is_right, outcome.verdict


STEPS = """
def _weights(is_on):
    return f"gradients on: {is_on}"


class Mine(Trainer):
    factor = 2.0

    def __init__(self, *args, noise, **kwargs):
        super().__init__(*args, **kwargs)
        self.noise, self.count = noise, 0

    @torch.no_grad()
    def _weights(self, rows):
        print(_weights(torch.is_grad_enabled()))
        return [self.factor if row["x"][0] > 0 else 1.0 for row in rows]

    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.WeightedRandomSampler(self._weights(self.train_dataset), 24)

    def training_step(self, model, inputs, num_items_in_batch=None):
        self.count += 1
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs) / self.count
        self.accelerator.backward(loss)
        for parameter in self.model.parameters():
            parameter.grad += self.noise * torch.randn_like(parameter) * self.state.global_step
        return loss.detach()

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1, 0.5, num_training_steps)
        return self.lr_scheduler

    def create_optimizer_and_scheduler(self, num_training_steps):
        raise RuntimeError


args = TrainingArguments("out", report_to="none", num_train_epochs=2)
Mine(Net(), args, train_dataset=data, noise=0.1).train()
"""
LOADERS = """
from torch.utils.data import DataLoader


class Mine(Trainer):
    def get_train_dataloader(self):
        return self.accelerator.prepare(
            DataLoader(self.train_dataset, batch_size=self._train_batch_size, shuffle=True, collate_fn=collate),
        )

    def get_eval_dataloader(self, eval_dataset=None):
        rows = eval_dataset if eval_dataset is not None else self.eval_dataset
        return DataLoader(rows, batch_size=7, collate_fn=self.data_collator)

    def create_optimizer(self, model=None):
        names = self.get_decay_parameter_names(self.model)
        groups = [[p for n, p in self.model.named_parameters() if (n in names) is is_in] for is_in in (True, False)]
        kind, arguments = self.get_optimizer_cls_and_kwargs(self.args, model)
        self.optimizer = kind([{"params": groups[0], "weight_decay": 0.1}, {"params": groups[1]}], **arguments)

    def evaluate(self, *args, **kwargs):
        metrics = super().evaluate(*args, **kwargs)
        metrics["eval_root"] = metrics["eval_loss"] ** 0.5
        return metrics


def collate(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in ("x", "labels")}


args = TrainingArguments("out", report_to="none", per_device_train_batch_size=5, eval_strategy="epoch")
Mine(Net(), args, data_collator=collate, train_dataset=data, eval_dataset=data).train()
"""
COUNT = """def count(results):
    return {"examples": len(results.predictions)}


def collate"""


@pytest.mark.parametrize(
    ("code", "steps", "said"),
    [(STEPS, 6, "create_optimizer_and_scheduler"), (LOADERS, 12, "weighs the last batch, 6")],
)
def test_methods_of_the_users_own_become_functions(code: str, steps: int, said: str, tmp_path: Path) -> None:
    file, folder = small(tmp_path, code), tmp_path / "run"
    assert main(["compare", "--no-report", "--trainer", str(file), "--output-dir", str(folder)]) == 0
    comparison = compared(folder)
    assert (comparison["verdict"], comparison["steps"]) == ("identical", steps)
    assert [fact for fact in comparison["job"]["facts"] if said in fact]
    # By itself, without Trainer's methods.
    alone = runpy.run_path(str(folder / "manual" / "mine_loop.py"), run_name="__main__")
    assert "Mine" not in alone and "data" in alone


def test_an_evaluation_that_trainer_cuts_is_named(tmp_path: Path, refusal, capfd) -> None:
    """Of batches of 7 it keeps 4 examples: as many as the training's last batch has."""
    file, folder = small(tmp_path, LOADERS.replace("size=5", "size=8")), tmp_path / "run"
    assert "only 4 examples of each batch" in refusal("compare", "--trainer", str(file))
    file.write_text(file.read_text().replace("data).train()", "data, compute_metrics=count).train()"))
    file.write_text(file.read_text().replace("def collate", COUNT))
    other = shutil.copy(file, tmp_path / "other.py")
    options = ("--no-report", "--trainer", str(file), "--against", str(other), "--output-dir", str(folder))
    assert main(["compare", *options]) == 0
    assert RunRecord.read(folder / "trainer").log_history[0]["eval_examples"] == 12
    assert [fact for fact in compared(folder)["job"]["facts"] if "first 4 examples" in fact]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("self.seen = self.model", "create_optimizer sets self.seen"),
        ("self.accelerator.print()", "create_optimizer uses self.accelerator"),
        ("super().create_optimizer()", "create_optimizer uses super().create_optimizer"),
    ],
)
def test_what_a_function_cannot_do_is_named(line: str, problem: str, tmp_path: Path, refusal) -> None:
    method = f"class Mine(Trainer):\n    def create_optimizer(self):\n        {line}\n\n\nMine"
    message = refusal("compare", "--trainer", str(small(tmp_path, method + TRAINED.removeprefix("Trainer") % "")))
    assert f"line 21: {problem}" in message


def test_a_name_that_the_loop_has_too_is_named(tmp_path: Path, refusal) -> None:
    code = "def evaluate():\n    pass\n\n\n"
    code += "class Mine(Trainer):\n    def create_optimizer(self):\n        evaluate()\n\n\n"
    message = refusal(
        "compare", "--trainer", str(small(tmp_path, code + "Mine" + TRAINED.removeprefix("Trainer") % ""))
    )
    assert "create_optimizer uses evaluate of the script" in message


def test_what_trainer_does_is_said_with_its_figure(tmp_path: Path) -> None:
    """Of three batches per step that Trainer does not divide: the sum of their losses; of a divided one nothing."""
    schedule = ", lr_scheduler_type='cosine_with_min_lr', lr_scheduler_kwargs={'min_lr': 1e-5}"
    file = small(tmp_path, TRAINED % f", gradient_accumulation_steps=3{schedule}")
    text = file.read_text()
    for accepts, count in ((True, 1), (False, 0)):
        # Trainer takes a forward with **kwargs for one that divides by the number of labels.
        file.write_text(text.replace("labels=None)", "labels=None, **kwargs)") if accepts else text)
        assert main(["compare", "--trainer", str(file), "--output-dir", str(tmp_path / f"run{accepts}")]) == 0
        facts = [fact for fact in compared(tmp_path / f"run{accepts}")["job"]["facts"] if "#47688" in fact]
        assert len(facts) == count
        record = RunRecord.read(tmp_path / f"run{accepts}" / "trainer")
        assert record.config.lr_scheduler_kwargs == {"min_lr": 1e-5}
        step = record.steps[0]
        assert len(step["losses"]) == 3
        assert all(f"{sum(step['losses']):.4g}" in fact for fact in facts)


def test_inputs_have_the_names_that_they_have(tmp_path: Path) -> None:
    """The recorder sees what the model is given, and a loop that changes it is told so."""
    file, folder = small(tmp_path, TRAINED % ""), tmp_path / "run"
    assert main(["compare", "--trainer", str(file), "--output-dir", str(folder)]) == 0
    record = RunRecord.read(folder / "trainer")
    assert list(record.steps[0]["batch"][0]) == ["labels", "x"]
    assert record.steps[0]["samples"] == 8
    loop = tmp_path / "loop.py"
    written = (folder / "manual" / "mine_loop.py").read_text()
    loop.write_text(written.replace("model.train()", 'batch["x"] = batch["x"] * 2\n            model.train()'))
    again = tmp_path / "again"
    assert main(["compare", "--trainer", str(file), "--loop", str(loop), "--output-dir", str(again)]) == 1
    assert (compared(again)["first_divergence"]["step"], compared(again)["first_divergence"]["quantity"]) == (
        1,
        "batch",
    )


def test_a_collator_may_take_its_examples_apart(tmp_path: Path) -> None:
    """One batch is looked at before the training, which must not find its examples used up."""
    taken = "def taken(rows):\n    for row in rows:\n        row.pop('name')\n"
    taken += "    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}\n"
    call = (TRAINED % ", remove_unused_columns=False").replace("train_dataset", "data_collator=taken, train_dataset")
    file, folder = small(tmp_path, f"{taken}\n{call}"), tmp_path / "run"
    assert main(["compare", "--trainer", str(file), "--output-dir", str(folder)]) == 0
    assert RunRecord.read(folder / "manual").steps[0]["samples"] == 8


def test_locate_names_the_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, loop, folder = small(tmp_path, TRAINED % ""), tmp_path / "loop.py", tmp_path / "run"
    assert main(["eject", str(file), "-o", str(loop)]) == 0
    loop.write_text(loop.read_text().replace("model.zero_grad()", "pass"))
    assert main(["compare", "--trainer", str(file), "--loop", str(loop), "--output-dir", str(folder)]) == 1
    assert compared(folder)["first_divergence"]["findings"][0]["code"].startswith("zero")
    capsys.readouterr()
    assert main(["locate", str(folder)]) == 1
    assert "layer.weight" in capsys.readouterr().out


def run_of_a_script(folder: Path) -> Path:
    if not (folder / "kept").exists():
        file = small(folder, TRAINED % "")
        assert main(["compare", "--trainer", str(file), "--output-dir", str(folder / "kept")]) == 0
    return folder / "kept"


def test_two_scripts_and_two_loops(tmp_path: Path) -> None:
    script = small(tmp_path, TRAINED % "", "one.py")
    same = small(tmp_path, TRAINED % ", learning_rate=5e-5", "same.py")
    other = small(tmp_path, TRAINED % ", weight_decay=0.5, learning_rate=5e-5", "other.py")
    for number, (file, status) in enumerate(((same, 0), (other, 1))):
        folder = ["--output-dir", str(tmp_path / str(number))]
        assert main(["compare", "--trainer", str(script), "--against", str(file), *folder]) == status
    loop, changed = tmp_path / "loop.py", tmp_path / "changed.py"
    assert main(["eject", str(script), "-o", str(loop)]) == 0
    changed.write_text(loop.read_text().replace("fused=True", "fused=True, eps=1e-3"))
    pair = ["--trainer", str(script), "--loop", str(loop), "--against", str(changed)]
    assert main(["compare", *pair, "--output-dir", str(tmp_path / "pair")]) == 1
    assert compared(tmp_path / "pair")["job"]["sides"] == ["loop.py", "changed.py"]


def test_two_loops_on_our_own_job(tmp_path: Path, refusal: Callable[..., str]) -> None:
    """Their report: tests/lesson/test_two_loops.py."""
    loop = SCRIPTS.parent / "loops" / "course.py"
    pair = ["--loop", str(loop), "--against", str(loop), "--preset", "tiny", "--output-dir", str(tmp_path / "run")]
    assert main(["compare", *pair]) == 0
    assert compared(tmp_path / "run")["verdict"] == "identical"
    assert (tmp_path / "run" / "report.html").is_file()
    assert "two loops" in refusal("xray", str(tmp_path / "run"))
    assert "--accelerate" in refusal("report", str(tmp_path / "run"), "--accelerate")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("raise ValueError('no such folder')", "line 19"),
        ("done = True", "without"),
        ("raise SystemExit(3)", "--"),
        (TRAINED % ", torch_empty_cache_steps=1, batch_eval_metrics=True", "batch_eval_metrics"),
        (
            "class T(Trainer):\n    def get_train_dataloader(self):\n        return None\nT" + (TRAINED % "")[7:],
            "line 22",
        ),
    ],
)
def test_a_script_that_cannot_be_taken_is_one_line(
    text: str, named: str, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    folder = tmp_path / "run"
    assert named in refusal("compare", "--trainer", str(small(tmp_path, text)), "--output-dir", str(folder))
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "--trainer", "none.py"],
        ["compare", "--trainer", "mine.py", "--learning-rate", "1"],
        ["compare", "--trainer", "mine.py", "--loop", "none.py"],
        ["compare", "--against", "mine.py"],
        ["compare", "--trainer", "mine.py", "--reuse"],
        ["compare", "--trainer", "mine.py", "--nproc-per-node", "2"],
        ["xray", "--trainer", "mine.py", "--learning-rate", "1"],
        ["xray", "--trainer", "none.py"],
        ["diff", "--trainer", "mine.py", "--argument", "max_grad_norm=0"],
        ["diff", "--trainer", "mine.py", "--loop", "none.py"],
        ["eject", "mine.py", "--trainer"],
        ["eject", "none.json"],
        ["eject", "list.json"],
        ["eject", "arguments.json", "--", "--lr", "1"],
        ["eject", "training_args.bin"],
        ["compare", "mine.py"],
        ["eject", "none.py"],
        ["eject", "mine.py", "-o", "mine.py"],
        ["eject", "mine.py", "--seed", "3"],
    ],
)
def test_what_is_given_is_refused_before_anything_runs(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]
) -> None:
    small(tmp_path, TRAINED % "")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "arguments.json").write_text('{"output_dir": "out"}')
    monkeypatch.chdir(tmp_path)
    refusal(*arguments)
    assert not (tmp_path / "runs").exists()


def test_sides() -> None:
    script, loop = SCRIPTS / "regression.py", SCRIPTS.parent / "loops" / "course.py"
    job = Script(script, ("--x",))
    assert sides_of(script, None, None, ("--x",)) == (Side(job, is_ejected=True), Side(job))
    assert sides_of(script, loop, None, ("--x",)) == (Side(job, loop), Side(job))
    assert sides_of(script, None, loop, ("--x",)) == (Side(job, loop), Side(job))
    assert sides_of(script, loop, loop, ("--x",)) == (Side(job, loop), Side(job, loop))
    assert sides_of(script, None, script, ("--x",)) == (Side(job), Side(job))
    assert sides_of(None, loop, script, ("--x",)) == (Side(job, loop), Side(job))
    assert sides_of(None, loop, loop, ()) == (Side(None, loop), Side(None, loop))
    for wrong in ((None, None, loop), (None, None, script), (script, loop, script)):
        with pytest.raises(SameLoopError):
            sides_of(*wrong, ())


def test_a_comparison_that_is_there_is_not_lost(tmp_path: Path, refusal: Callable[..., str]) -> None:
    folder = run_of_a_script(tmp_path)
    before = compared(folder)
    refusal(
        "compare", "--trainer", str(small(tmp_path, "raise OSError('away')", "two.py")), "--output-dir", str(folder)
    )
    arguments = ["--output-dir", str(folder), "--overwrite-output-dir"]
    refusal("compare", "--trainer", str(tmp_path / "two.py"), *arguments)
    assert compared(folder) == before


def compared(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / "comparison.json"))


def test_a_tokenizer_that_every_run_trains_anew_is_told(tmp_path: Path, capsys) -> None:
    """The library tokenizers numbers the words that it finds as often in another order each time."""
    from benchmarks.port.compare import _check_words

    side = Side(Script(tmp_path / "mine.py"))
    for name, vocab in (("a", {"x": 0, "y": 1}), ("b", {"x": 1, "y": 0}), ("c", {"x": 0, "y": 1})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}), encoding="utf-8")
    _check_words([tmp_path / "a", tmp_path / "c"], (side, side))
    with pytest.raises(SameLoopError, match="train it once, save it"):
        _check_words([tmp_path / "a", tmp_path / "b"], (side, side))


@pytest.mark.parametrize(
    ("after", "folder"),
    [
        ("open('out/done.txt', 'w').write('1')", "out"),
        ("open(os.path.join(args.output_dir, 'done.txt'), 'w').write('1')", "out"),
        ("open(f'{WHERE}/done.txt', 'w').write('1')", "here"),
        ("open('done.txt', 'w').write('1')", ""),
    ],
)
def test_what_comes_after_the_training_finds_the_folder_that_trainer_makes(
    after: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "WHERE" if folder == "here" else "'out'"
    arguments = f"WHERE = 'here'\nargs = TrainingArguments({where}, report_to='none', num_train_epochs=1)"
    file = small(tmp_path, f"{arguments}\nresult = Trainer(Net(), args, train_dataset=data).train()\n{after}")
    file.write_text(f"from __future__ import annotations\nimport os\n{file.read_text()}")
    monkeypatch.chdir(tmp_path)
    assert main(["eject", str(file), "-o", "loop.py"]) == 0
    for name in ("out", "here"):
        shutil.rmtree(name, ignore_errors=True)
    runpy.run_path("loop.py", run_name="__main__")
    assert (tmp_path / folder / "done.txt").read_text() == "1"
    assert [name for name in ("out", "here") if (tmp_path / name).exists()] == [folder] * bool(folder)


def test_arguments_as_json_are_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import TrainingArguments

    set_here = {
        "learning_rate": 3e-4,
        "gradient_accumulation_steps": 2,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr": 1e-5},
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_strategy": "steps",
        "save_steps": 6,
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "seed": 5,
    }
    left = {"neftune_noise_alpha": 5.0, "optim": "adamw_bnb_8bit"}
    silent = {"report_to": "none", "run_name": "mine", "hub_model_id": "me/mine", "logging_first_step": True}
    file = tmp_path / "args.json"
    file.write_text(TrainingArguments("out", **set_here, **left, **silent).to_json_string())
    capsys.readouterr()
    assert main(["eject", str(file), "--preset", "tiny", "--seed", "7"]) == 0
    first_run = capsys.readouterr()
    notes = [line for line in first_run.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2 and all(any(name in line for line in notes) for name in left)
    all_of_them = json.loads(TrainingArguments("out", **set_here).to_json_string())
    settings = {name: all_of_them[name] for name in RunConfig.model_fields if all_of_them.get(name) is not None}
    flags = RunConfig.build("tiny", **{**settings, "seed": 7}).flags()
    assert main(["eject", *flags]) == 0
    assert capsys.readouterr().out == first_run.out
    # Trainer passes over what a constant rate does not take.
    constant = {"lr_scheduler_type": "constant"}
    assert valid_settings("tiny", {**constant, "lr_scheduler_kwargs": {"power": 2}}) == constant
    assert valid_settings("tiny", {"dataloader_drop_last": True}, {"eval_size": 1}) == {}


@pytest.mark.parametrize(
    ("change", "runs_again"),
    [
        (lambda folder: None, ["trainer"]),
        (lambda folder: (folder / "mine.py").open("a").write("# changed\n"), ["manual", "trainer"]),
        (lambda folder: (folder / "helper.py").write_text("RATE = 2\n"), ["manual", "trainer"]),
    ],
)
def test_a_comparison_that_was_cut_off_keeps_the_side_that_is_done(
    change: Callable[[Path], object], runs_again: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.port import compare

    (tmp_path / "helper.py").write_text("RATE = 1\n")
    file, folder = small(tmp_path, f"import helper\n{TRAINED % ''}"), tmp_path / "run"
    command, begun, run_side = ["compare", "--trainer", str(file), "--output-dir", str(folder)], [], compare.run_side

    def cut_off(role: str, side: Side, into: Path, **looks_at: int) -> None:
        begun.append(role)
        if begun == ["manual", "trainer"]:
            raise Interrupted("cut off", signal.SIGINT)
        run_side(role, side, into, **looks_at)

    monkeypatch.setattr(compare, "run_side", cut_off)
    assert main(command) == 128 + signal.SIGINT
    change(tmp_path)
    assert main([*command, "--no-report"]) == 0
    assert begun[2:] == runs_again
    assert compared(folder)["verdict"] == "identical"


def test_nothing_is_left_of_a_comparison_that_was_cut_off_in_its_first_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.port import compare

    def cut_off(role: str, side: Side, into: Path, **looks_at: int) -> None:
        raise Interrupted("cut off", signal.SIGTERM)

    monkeypatch.setattr(compare, "run_side", cut_off)
    file, folder = small(tmp_path, TRAINED % ""), tmp_path / "run"
    assert main(["compare", "--trainer", str(file), "--output-dir", str(folder)]) == 128 + signal.SIGTERM
    assert not folder.exists()


def test_what_asks_the_trainer_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the training, after it, and in a method elsewhere; a parameter named `train` is renamed.

    A method's own name, `first`, is not that of another; a block of which nothing is left stays a block.
    """
    lines = """
    class Job:
        def go(self, train):
            self.trainer = Trainer(Net(), TrainingArguments('out', report_to='none'), train_dataset=train)
            self.trainer.train()
            first = 1
            return first

        def report(self):
            first, second = self.trainer.state.global_step, 2
            print(second)

    def plain(train):
        if train:
            trainer = Trainer(Net(), TrainingArguments('out', report_to='none'), train_dataset=train)
            before = trainer.get_train_dataloader()
        print(len(before))
        trainer.train()
        done, _ = trainer.state.global_step, 2
        print(done)
        return 1
    """
    calls = ("job = Job()\nassert job.go(train=data) == 1\njob.report()", "assert plain(train=data) == 1")
    monkeypatch.chdir(tmp_path)
    for call, left_out in zip(calls, ("lines 28, 29", "lines 34, 35, 37, 38"), strict=True):
        file = small(tmp_path, f"{textwrap.dedent(lines)}\n{call}")
        Path("loop.py").unlink(missing_ok=True)
        assert main(["eject", str(file), "-o", "loop.py"]) == 0
        noted = re.search(r"the Trainer or its results: (.*) of mine.py", Path("loop.py").read_text())
        assert noted and noted[1] == left_out
        runpy.run_path("loop.py", run_name="__main__")


def test_a_generator_of_the_scripts_own_is_as_far_on_in_both(tmp_path: Path) -> None:
    """Both sides look at one batch; the collator draws from a generator that nobody else sees."""
    drawing = "DRAWN = torch.Generator().manual_seed(1)\ndef noisy(rows):\n    "
    drawing += "batch = {key: torch.stack([torch.as_tensor(row[key]) for row in rows]) for key in rows[0]}\n    "
    drawing += "return {**batch, 'x': batch['x'] + torch.rand(batch['x'].shape, generator=DRAWN)}\n"
    call = (TRAINED % "").replace("train_dataset", "data_collator=noisy, train_dataset")
    file = small(tmp_path, f"{drawing}\n{call}")
    assert main(["compare", "--trainer", str(file), "--output-dir", str(tmp_path / "run"), "--no-report"]) == 0


def test_the_trainers_model_in_compute_loss_is_the_model(tmp_path: Path) -> None:
    own = "class Mine(Trainer):\n    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):\n        "
    own += (
        "outputs = model(**inputs)\n        loss = outputs['loss'] + 0 * next(self.model.parameters()).sum()\n        "
    )
    own += "return (loss, outputs) if return_outputs else loss\n"
    file = small(tmp_path, own + (TRAINED % "").replace("Trainer(", "Mine(", 1))
    assert main(["compare", "--trainer", str(file), "--output-dir", str(tmp_path / "run"), "--no-report"]) == 0


# A tokenizer whose words get other numbers in every run, and examples made with it.
TRAINS_ITS_TOKENIZER = """
import os, random
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, default_data_collator

words = [f"w{n}" for n in range(50)]
random.Random(os.urandom(8)).shuffle(words)
model = models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
ids = tokenizer.convert_tokens_to_ids([f"w{n}" for n in range(40)])
data = [{"x": torch.tensor(ids[n : n + 2]) / 50, "labels": torch.zeros(1)} for n in range(20)]
"""


def test_each_view_of_a_script_that_trains_its_tokenizer_has_one_vocabulary(tmp_path: Path) -> None:
    """The comparison, and what runs both sides again and stops on the way; two scripts keep their own."""
    from benchmarks.port.compare import kept_sides, words_for
    from benchmarks.port.xray import xray_sides

    call = (TRAINED % "").replace(
        "train_dataset", "processing_class=tokenizer, data_collator=default_data_collator, train_dataset"
    )
    file, folder = small(tmp_path, f"{TRAINS_ITS_TOKENIZER}\n{call}"), tmp_path / "run"
    assert main(["compare", "--trainer", str(file), "--output-dir", str(folder), "--no-report"]) == 0
    sides = kept_sides(folder)
    assert xray_sides(sides).first_difference is None
    other = Side(Script(small(tmp_path, TRAINED % "", "other.py")))
    assert words_for(sides, folder) == folder / "manual" / "tokenizer.json"
    assert words_for((sides[1], other), folder) is None


def test_a_tokenizer_that_the_script_trains_is_the_other_sides(tmp_path: Path) -> None:
    """It numbers equally frequent words in another order; what has other words altogether is left as it is."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from benchmarks.port.door import _take_words_of

    def tokenizer_of(*words: str) -> PreTrainedTokenizerFast:
        vocabulary = {word: number for number, word in enumerate(words)}
        return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="?")))

    tokenizer_of("?", "a", "b", "c").save_pretrained(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PreTrainedTokenizerFast, "__init__", PreTrainedTokenizerFast.__init__)
        _take_words_of(tmp_path / "tokenizer.json")
        others = (("?", "c", "b", "a"), ("?", "x", "y", "z"), ("?", "a", "b"))
        numbers = [tokenizer_of(*words).get_vocab() for words in others]
    assert [(vocabulary.get("a"), len(vocabulary)) for vocabulary in numbers] == [(1, 4), (None, 4), (1, 3)]
