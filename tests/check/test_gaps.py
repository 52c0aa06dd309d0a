"""Fill the gaps one by one: what is filled correctly is right, what is open is open, and there is no other finding."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path

import pytest

from benchmarks.check.check import check_script
from benchmarks.check.gaps import open_gaps
from benchmarks.check.rubric import FAIL, NOT_REACHED, OPEN, PASS, UNFINISHED, Result
from benchmarks.check.start import AFTER, BEFORE, INSIDE, skeleton
from shared.running.script import own_script

GAPS = (*BEFORE, *INSIDE, *AFTER)
# What a student writes, who knows nothing of the minimal loop.
SOLUTION = {
    "seed": "import torch\nfrom transformers import set_seed\nset_seed(config.seed)",
    "shuffle": "generator = torch.Generator().manual_seed(config.seed)\n"
    "sampler = torch.utils.data.RandomSampler(train_dataset, generator=generator)",
    "collator": "from transformers import DataCollatorWithPadding\ncollate = DataCollatorWithPadding(tokenizer)",
    "batch": "train_batches = torch.utils.data.DataLoader(\n"
    "    train_dataset, config.per_device_train_batch_size, sampler=sampler, collate_fn=collate)\n"
    "eval_batches = torch.utils.data.DataLoader(\n"
    "    eval_dataset, config.per_device_eval_batch_size, collate_fn=collate)",
    "device": "device = 'cuda' if torch.cuda.is_available() else 'cpu'\nmodel.to(device)",
    "optimizer": "optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)",
    "train mode": "model.train()",
    "forward": "output = model(**batch)",
    "loss": "loss = output.loss",
    "backward": "loss.backward()",
    "clip": "torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)",
    "step": "optimizer.step()",
    "schedule step": "if epoch == 0 and not hasattr(model, 'schedule'):\n"
    "    steps = int(config.num_train_epochs) * len(train_batches)\n"
    "    model.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: (steps - n) / steps)\n"
    "model.schedule.step()",
    "zero": "optimizer.zero_grad()",
    "evaluate": "model.eval()\n"
    "losses, right = [], []\n"
    "for batch in eval_batches:\n"
    "    with torch.no_grad():\n"
    "        output = model(**batch)\n"
    "    losses += [output.loss.item()] * len(batch['labels'])\n"
    "    right += (output.logits.argmax(-1) == batch['labels']).tolist()\n"
    "evaluations.append({'eval_loss': sum(losses) / len(losses), 'eval_accuracy': sum(right) / len(right)})",
}


def written(phases: set[str], folder: Path, solution: dict[str, str] = SOLUTION) -> Path:
    """The skeleton with these gaps filled."""
    lines = []
    for line in skeleton().splitlines():
        phase = line.strip().removeprefix('raise NotImplementedError("').partition(":")[0].lower()
        if "NotImplementedError" in line and phase in phases:
            space = line[: len(line) - len(line.lstrip())]
            lines.append(textwrap.indent(solution[phase], space))
        else:
            lines.append(line)
    file = folder / "my_loop.py"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def checked(phases: set[str], folder: Path, solution: dict[str, str] = SOLUTION) -> tuple[Result, dict[str, str]]:
    file = written(phases, folder, solution)
    assert open_gaps(file.read_text(encoding="utf-8")) == [phase for phase in GAPS if phase not in phases]
    result = check_script(own_script(file))
    return result, {row["item"]: row["status"] for row in result.rubric}


def assert_so_far(phases: set[str], folder: Path) -> None:
    result, statuses = checked(phases, folder)
    assert {item for item, status in statuses.items() if status == OPEN} == set(GAPS) - phases
    # What the batches are made with is seen once they are made, at the latest.
    late = set() if "batch" in phases else {"shuffle", "collator"}
    passed = {item for item, status in statuses.items() if status == PASS}
    assert phases - late <= passed <= phases, (statuses, result.why, result.rubric)
    assert result.score == len(passed)
    assert result.verdict == (UNFINISHED if len(phases) < len(GAPS) else "equivalent")


@pytest.mark.parametrize("count", range(len(GAPS) + 1))
def test_every_filled_gap_is_one_more_right_item(count: int, tmp_path: Path) -> None:
    assert_so_far(set(GAPS[:count]), tmp_path)


# Each needs names that others bind.
NEEDS = {
    "shuffle": {"seed"},
    "batch": {"shuffle", "collator"},
    "device": {"seed"},
    "optimizer": {"seed"},
    "loss": {"forward"},
    "backward": {"loss"},
    "clip": {"seed"},
    "step": {"optimizer"},
    "schedule step": {"optimizer", "batch"},
    "zero": {"optimizer"},
    "evaluate": {"batch"},
}


def with_needs(phases: set[str]) -> set[str]:
    while (more := phases.union(*(NEEDS.get(phase, set()) for phase in phases))) != phases:
        phases = more
    return phases


@pytest.mark.parametrize(
    "phases",
    [pytest.param(with_needs({phase}), id=phase) for phase in GAPS[6:]]
    + [pytest.param(with_needs(set(pair)), id="+".join(pair), marks=pytest.mark.slow) for pair in
       itertools.combinations(GAPS[6:], 2)],
)  # fmt: skip
def test_in_another_order(phases: set[str], tmp_path: Path) -> None:
    """Each pair of gaps with what it needs, 36 of them, in half a minute; each alone in every `make test`."""
    assert_so_far(phases, tmp_path)


def test_what_is_filled_wrongly_is_wrong_whatever_is_open(tmp_path: Path) -> None:
    wrong = {**SOLUTION, "optimizer": "optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)"}
    result, statuses = checked(set(GAPS[:6]), tmp_path, wrong)
    assert statuses["optimizer"] == FAIL and statuses["step"] == OPEN
    assert [row["code"] for row in result.rubric if row["code"]] == ["optimizer.settings"]
    assert result.score == 5
    wrong = {**SOLUTION, "collator": "from transformers import DataCollatorWithPadding\n"
             "collate = DataCollatorWithPadding(tokenizer, padding='max_length', max_length=64)"}  # fmt: skip
    result, statuses = checked(set(GAPS[:4]), tmp_path, wrong)
    assert statuses["collator"] == FAIL and statuses["batch"] == PASS


def test_what_is_used_only_by_what_is_open_is_not_judged(tmp_path: Path) -> None:
    own = {**SOLUTION, "shuffle": "order = torch.randperm(len(train_dataset))"}
    result, statuses = checked(set(GAPS[:2]), tmp_path, own)
    assert (statuses["seed"], statuses["shuffle"], result.score) == (PASS, NOT_REACHED, 1)


def test_the_line_that_ends_names_the_next_gap(tmp_path: Path) -> None:
    result, _ = checked(set(GAPS[:10]), tmp_path)
    assert result.why.startswith("5 gaps are still open; the next is clip. ")


def test_a_whole_loop_has_no_gap(tmp_path: Path) -> None:
    file = tmp_path / "loop.py"
    file.write_text('raise NotImplementedError("not that kind")\nraise ValueError\n', encoding="utf-8")
    assert open_gaps(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("phase", "right", "written_in", "code"),
    [
        ("batch", "config.per_device_train_batch_size", "8", "batch.size"),
        ("optimizer", "lr=config.learning_rate", "lr=1e-3", "schedule.rate"),
        ("optimizer", "lr=config.learning_rate, ", "", "schedule.rate"),
    ],
)
def test_a_hard_coded_value_is_the_only_finding(phase, right, written_in, code, tmp_path: Path) -> None:
    own = {**SOLUTION, phase: SOLUTION[phase].replace(right, written_in)}
    result, _ = checked(set(GAPS), tmp_path, own)
    assert [row["code"] for row in result.rubric if row["code"]] == [code], result.rubric


def test_hard_coded_epochs_are_a_finding(tmp_path: Path) -> None:
    script = own_script(written(set(GAPS), tmp_path)).edited("range(int(config.num_train_epochs))", "range(2)")
    assert [row["code"] for row in check_script(script).rubric if row["code"]] == ["batch.epochs"]
