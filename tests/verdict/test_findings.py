"""What people do to a loop that the two loops of this project do not: each has its code, no right loop has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Trained, run_in_process

from benchmarks.check.check import check_script
from benchmarks.check.rubric import GOOD
from benchmarks.judge.finding import PHASE_OF_TOPIC
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.errors import SameLoopError, ScriptError
from shared.recording.record import RunRecord
from shared.running.script import own_script

MINIMAL = Path(__file__).parents[2] / "manual_loop" / "minimal.py"
LOSS = "            loss = model(**batch.to(device)).loss  # the batch's mean, a scalar\n"
STEP = "            optimizer.step()\n"
EPOCH = "    for epoch in range(epochs):\n"
EVALUATE = "        model.eval()\n"
ACCURACY = "np.mean(correct).item()"
LOADER = "    loader = DataLoader(train_dataset, batch_size, sampler=sampler, collate_fn=collator)\n"
OPTIMIZER = "    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0, fused=True)\n"
# The minimal loop has this limit written in.
JOB = RunConfig.build("tiny", max_grad_norm=1.0)


class Edit(NamedTuple):
    """A piece of the minimal loop, what takes its place, and the codes that must be found, the cause first.

    Attributes:
        pieces: the replacements.
        codes: the first is the cause; none: the runs are identical.
    """

    pieces: dict[str, str]
    codes: tuple[str, ...] = ()


def loss(text: str) -> dict[str, str]:
    return {LOSS: f"            out = model(**batch.to(device))\n            loss = {text}\n"}


# The steps are made by a function of torch's, with states of the loop's own.
FUNCTIONAL = {
    OPTIMIZER: "    from torch.optim.adamw import adamw\n\n"
    "    weights = list(model.parameters())\n"
    "    first, second = ([torch.zeros_like(p) for p in weights] for _ in range(2))\n"
    "    counts = [torch.zeros(()) for _ in weights]\n"
    "    done = 0\n",
    "    scheduler = LambdaLR(optimizer, lambda step: (steps - step) / steps)\n": "",
    STEP: "            gradients = [p.grad for p in weights]\n"
    "            settings = {'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8, 'weight_decay': 0}\n"
    "            settings |= {'lr': lr * ((steps - done) / steps), 'fused': True}\n"
    "            settings |= {'amsgrad': False, 'maximize': False}\n"
    "            with torch.no_grad():\n"
    "                adamw(weights, gradients, first, second, [], counts, **settings)\n"
    "            done += 1\n",
    "            scheduler.step()  # lowers the learning rate linearly to 0\n": "",
    "            optimizer.zero_grad()": "            model.zero_grad()",
}
EDITS = {
    # Equal, and must be called so.
    "further evaluations, of training examples and of another model": Edit(
        {
            "    evaluations = []\n": "    import copy\n\n    evaluations, other = [], copy.deepcopy(model)\n",
            EVALUATE: "        with torch.random.fork_rng(), torch.no_grad():\n"
            "            for batch in DataLoader(train_dataset, 7, collate_fn=collator):\n"
            "                model.eval()(**batch.to(device))\n"
            "            for batch in eval_loader:\n"
            "                other.eval()(**batch.to(device))\n" + EVALUATE,
        }
    ),
    "inside a module": Edit(
        {
            "    device = torch": "    class Wrapped(torch.nn.Module):\n"
            "        def __init__(self, model):\n"
            "            super().__init__()\n"
            "            self.inner = model\n\n"
            "        def forward(self, **batch):\n"
            "            return self.inner(**batch)\n\n"
            "    model = Wrapped(model)\n"
            "    device = torch"
        }
    ),
    "data parallel": Edit({"    device = torch": "    model = torch.nn.DataParallel(model)\n    device = torch"}),
    "two optimizers": Edit(
        {
            OPTIMIZER: "    body, head = model.distilbert, [model.pre_classifier, model.classifier]\n"
            "    head = [p for part in head for p in part.parameters()]\n"
            "    optimizer = torch.optim.AdamW(body.parameters(), lr, weight_decay=0, fused=True)\n"
            "    second = torch.optim.AdamW(head, lr, weight_decay=0, fused=True)\n",
            "    evaluations = []\n": "    of_second = LambdaLR(second, lambda step: (steps - step) / steps)\n"
            "    evaluations = []\n",
            STEP: f"{STEP}            second.step()\n            of_second.step()\n",
            "            optimizer.zero_grad()": "            second.zero_grad()\n            optimizer.zero_grad()",
        }
    ),
    "its own command line": Edit(
        {"import numpy": "import argparse\n\nargparse.ArgumentParser().parse_args()\n\nimport numpy"}
    ),
    "gradients by another function": Edit(
        {
            "            loss.backward()\n": "            weights = list(model.parameters())\n"
            "            for p, gradient in zip(weights, torch.autograd.grad(loss, weights)):\n"
            "                p.grad = gradient\n"
        }
    ),
    "a schedule that rounds differently": Edit(
        {
            "LambdaLR(optimizer, lambda step: (steps - step) / steps)": "torch.optim.lr_scheduler.LinearLR("
            "optimizer, 1.0, 0.0, steps)"
        },
        ("schedule.rate",),
    ),
    "hooks of the optimizer": Edit(
        {
            "    evaluations = []\n": "    clip = torch.nn.utils.clip_grad_norm_\n"
            "    optimizer.register_step_pre_hook(lambda *_: clip(model.parameters(), 1.0) and None)\n"
            "    optimizer.register_step_post_hook(lambda *_: scheduler.step())\n"
            "    evaluations = []\n",
            "            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n": "",
            "            scheduler.step()  # lowers the learning rate linearly to 0\n": "",
        }
    ),
    "no optimizer of torch's": Edit(FUNCTIONAL),
    "an evaluation that disturbs nothing": Edit(
        {
            STEP: f"{STEP}            if scheduler.last_epoch == 2:\n"
            "                with torch.random.fork_rng(), torch.no_grad():\n"
            "                    model.eval()\n"
            "                    for other in eval_loader:\n"
            "                        model(**other.to(device))\n"
        }
    ),
    "the passes in a closure": Edit(
        {
            LOSS
            + "            loss.backward()\n"
            + "            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n": "            def passes():\n"
            "                loss = model(**batch.to(device)).loss\n"
            "                loss.backward()\n"
            "                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
            "                return loss\n\n",
            STEP: "            optimizer.step(passes)\n",
        }
    ),
    "a progress bar": Edit(
        {
            "from transformers": "from tqdm.auto import tqdm\nfrom transformers",
            "        for batch in loader:": "        for batch in tqdm(loader):",
        },
        ("seed.passes",),
    ),
    # Another loss.
    "softmax twice": Edit(
        loss("torch.nn.functional.cross_entropy(out.logits.softmax(-1), batch['labels'])"), ("loss.criterion",)
    ),
    "class weights": Edit(
        loss("torch.nn.functional.cross_entropy(out.logits, batch['labels'], torch.tensor([1.0, 3.0]))"),
        ("loss.criterion",),
    ),
    "focal loss": Edit(loss("((1 - (-out.loss).exp()) ** 2) * out.loss"), ("loss.criterion",)),
    "an L2 term": Edit(loss("out.loss + 0.01 * sum(p.pow(2).sum() for p in model.parameters())"), ("loss.criterion",)),
    "a scale": Edit(loss("3 * out.loss"), ("loss.scale",)),
    # Other passes.
    "R-Drop": Edit(loss("(out.loss + model(**batch).loss) / 2"), ("forward.repeated",)),
    "FGM": Edit(
        {
            "            loss.backward()\n": "            loss.backward()\n"
            "            table = model.distilbert.embeddings.word_embeddings.weight\n"
            "            moved = table.grad / (table.grad.norm() + 1e-12)\n"
            "            table.data.add_(moved)\n"
            "            model(**batch).loss.backward()\n"
            "            table.data.sub_(moved)\n"
        },
        ("forward.repeated",),
    ),
    "every batch twice": Edit(
        {"        for batch in loader:": "        for batch in (batch for batch in loader for _ in range(2)):"},
        ("batch.again", "step.number"),
    ),
    # Weights that something else moves.
    "an average is evaluated": Edit(
        {
            EPOCH: "    mean = {name: p.detach().clone() for name, p in model.named_parameters()}\n" + EPOCH,
            EVALUATE: "        raw = {name: p.detach().clone() for name, p in model.named_parameters()}\n"
            "        with torch.no_grad():\n"
            "            for name, p in model.named_parameters():\n"
            "                p.copy_(mean[name].lerp_(p, 0.5))\n" + EVALUATE,
            "        # Trainer uses numpy's": "        with torch.no_grad():\n"
            "            for name, p in model.named_parameters():\n"
            "                p.copy_(raw[name])\n"
            "        # Trainer uses numpy's",
        },
        ("evaluate.weights",),
    ),
    "a clamp": Edit(
        {
            STEP: f"{STEP}            with torch.no_grad():\n"
            "                for p in model.parameters():\n"
            "                    p.clamp_(-0.02, 0.02)\n",
        },
        ("weights.between",),
    ),
    "the first epoch's weights put back": Edit(
        {
            EVALUATE: "        if epoch == 0:\n"
            "            kept = {name: value.clone() for name, value in model.state_dict().items()}\n" + EVALUATE,
            "    return evaluations\n": "    model.load_state_dict(kept)\n    return evaluations\n",
        },
        ("weights.end",),
    ),
    "another kind of model": Edit(
        {
            "    device = torch": "    class Mine(type(model)):\n        pass\n\n"
            "    model = Mine(model.config)\n    device = torch"
        },
        ("model.other",),
    ),
    "an optimizer of one's own by torch's name": Edit(
        {
            OPTIMIZER: "    class AdamW(torch.optim.AdamW):\n"
            "        @torch.no_grad()\n"
            "        def step(self, closure=None):\n"
            "            for p in self.param_groups[0]['params']:\n"
            "                p -= self.param_groups[0]['lr'] * p.grad\n\n"
            "    optimizer = AdamW(model.parameters(), lr, weight_decay=0, fused=True)\n"
        },
        ("optimizer.other",),
    ),
    "a copy is trained": Edit(
        {"    device = torch": "    import copy\n\n    model = copy.deepcopy(model)\n    device = torch"},
        ("model.copy",),
    ),
    "a search for a rate": Edit(
        {
            OPTIMIZER: "    probe = torch.optim.AdamW(model.parameters(), 1e-6)\n"
            "    for _, batch in zip(range(3), loader):\n"
            "        model(**batch.to(device)).loss.backward()\n"
            "        probe.step()\n"
            "        probe.zero_grad()\n" + OPTIMIZER
        },
        ("step.before",),
    ),
    "a rate for each layer": Edit(
        {
            OPTIMIZER: "    body, head = model.distilbert, [model.pre_classifier, model.classifier]\n"
            "    head = [p for part in head for p in part.parameters()]\n"
            "    groups = [{'params': head}, {'params': list(body.parameters()), 'lr': lr * 0.9}]\n"
            "    optimizer = torch.optim.AdamW(groups, lr, weight_decay=0, fused=True)\n"
        },
        ("optimizer.rates",),
    ),
    # The data.
    "a part of it": Edit(
        {
            LOADER: "    part = torch.utils.data.Subset(train_dataset, range(len(train_dataset) - 11))\n"
            "    sampler = RandomSampler(part, generator=generator)\n"
            "    loader = DataLoader(part, batch_size, sampler=sampler, collate_fn=collator)\n"
        },
        ("shuffle.subset",),
    ),
    "cut to the batch's shortest": Edit(
        {
            "    collator = DataCollatorWithPadding(tokenizer)  # pads to the batch's longest review\n": ""
            "    def collator(rows):\n"
            "        ids, masks = zip(*[r['input_ids'] for r in rows]), zip(*[r['attention_mask'] for r in rows])\n"
            "        batch = {'input_ids': list(zip(*ids)), 'attention_mask': list(zip(*masks))}\n"
            "        batch['labels'] = [r['labels'] for r in rows]\n"
            "        return BatchEncoding(batch, tensor_type='pt')\n\n",
            "import DataCollatorWithPadding, set_seed": "import BatchEncoding, set_seed",
            "sampler=sampler, collate_fn": "shuffle=True, collate_fn",
        },
        ("batch.cut",),
    ),
    "with replacement": Edit(
        {"(train_dataset, generator=generator)": "(train_dataset, True, generator=generator)"},
        ("shuffle.replacement",),
    ),
    "masked tokens": Edit(
        {
            LOSS: "            drop = (torch.rand(batch['input_ids'].shape) < 0.1) & (batch['input_ids'] > 103)\n"
            f"            batch['input_ids'][drop] = tokenizer.mask_token_id\n{LOSS}"
        },
        ("batch.tokens",),
    ),
    "a draw before the order": Edit(
        {
            "        generator.manual_seed(": "        torch.rand(1, generator=generator.manual_seed(",
            "+ epoch)": "+ epoch))",
        },
        ("shuffle.draws",),
    ),
    "batches of one's own": Edit(
        {
            LOADER: "    rows = list(range(len(train_dataset)))[::-1]\n"
            "    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]\n"
            "    loader = DataLoader(train_dataset, batch_sampler=batches, collate_fn=collator)\n"
        },
        ("shuffle.order",),
    ),
    # Seeds, modes, lengths.
    "a seed in every epoch": Edit({EPOCH: f"{EPOCH}        set_seed(config.seed)\n"}, ("seed.again",)),
    "noise in the gradients": Edit(
        {
            STEP: "            for p in model.parameters():\n                p.grad += 0.1 * torch.randn_like(p)\n"
            + STEP
        },
        ("seed.within", "clip.changed"),
    ),
    "mixed embeddings in the place of tokens": Edit(
        {
            LOSS: "            batch = batch.to(device)\n"
            "            embedded = model.distilbert.embeddings.word_embeddings(batch.pop('input_ids'))\n"
            "            embedded = (embedded + embedded.flip(0)) / 2\n"
            "            loss = model(inputs_embeds=embedded, **batch).loss\n"
        },
        ("forward.inputs",),
    ),
    "a part of the model alone": Edit(
        {
            LOSS: "            batch = batch.to(device)\n"
            "            states = model.distilbert(batch['input_ids'], batch['attention_mask'])[0][:, 0]\n"
            "            logits = model.classifier(model.pre_classifier(states).relu())\n"
            "            loss = torch.nn.functional.cross_entropy(logits, batch['labels'])\n"
        },
        ("forward.part",),
    ),
    "gradients set to zero in a part of the model": Edit(
        {"optimizer.zero_grad()": "model.distilbert.zero_grad()"}, ("zero.partly",)
    ),
    "a loss that differs in its last digit": Edit(
        {
            LOSS: "            labels = batch.pop('labels')\n"
            "            logits = model(**batch.to(device)).logits\n"
            "            loss = torch.nn.functional.cross_entropy(logits, labels) * (1 + 2**-23)\n"
        },
        ("loss.rounding",),
    ),
    "no step at all": Edit({STEP: ""}, ("step.none",)),
    "another optimizer in each epoch": Edit(
        {
            EPOCH: f"{EPOCH}        now = optimizer.param_groups[0]['lr']\n"
            "        optimizer = torch.optim.AdamW(model.parameters(), now, weight_decay=0, fused=True)\n"
            "        optimizer.param_groups[0]['initial_lr'] = lr\n"
            "        scheduler.optimizer = optimizer\n"
        },
        ("optimizer.again",),
    ),
    "two things at once": Edit(
        {
            "lambda step: (steps - step) / steps": "lambda step: ((steps - step) / steps) ** 2",
            '[output.loss.item()] * len(batch["labels"])': "[output.loss.item()]",
        },
        ("schedule.rate", "evaluate.mean_of_means"),
    ),
    "a rounded sum": Edit({"np.mean(losses, dtype=np.float32).item()": "round(sum(losses), 3)"}, ("evaluate.sum",)),
    "the body in eval mode": Edit(
        {"            model.train()": "            model.train().distilbert.eval()"}, ("mode.parts",)
    ),
    "three epochs": Edit(
        {"int(config.num_train_epochs)": "int(config.num_train_epochs) + 1"}, ("schedule.rate", "step.number")
    ),
    "a schedule for fewer steps": Edit({"steps = epochs * len(loader)": "steps = 20"}, ("schedule.rate",)),
    # The evaluation.
    "no optimizer of torch's, and another number": Edit(
        {**FUNCTIONAL, ACCURACY: "sum(correct) / len(eval_loader)"}, ("evaluate.number",)
    ),
    "no optimizer of torch's, and one evaluation": Edit(
        {
            **FUNCTIONAL,
            "        model.eval()\n": "        if epoch == 0:\n            continue\n        model.eval()\n",
        },
        ("step.none",),
    ),
    "an evaluation that disturbs": Edit(
        {
            STEP: f"{STEP}            if scheduler.last_epoch == 2:\n"
            "                with torch.no_grad():\n"
            "                    model.eval()\n"
            "                    for other in eval_loader:\n"
            "                        model(**other.to(device))\n"
        },
        ("evaluate.more",),
    ),
    "the mean rounded": Edit(
        {"np.mean(losses, dtype=np.float32).item()": "round(float(np.mean(losses)), 4)"}, ("evaluate.mean",)
    ),
    "another number": Edit({ACCURACY: "0.123456789"}, ("evaluate.number",)),
    "an evaluation of a part": Edit(
        {"        for batch in eval_loader:\n": "        for batch in [*eval_loader][:2]:\n"}, ("evaluate.samples",)
    ),
    "one evaluation more": Edit(
        {
            "            model.train()": "            if len(evaluations) == 1 and not model.training:\n"
            "                with torch.no_grad():\n"
            "                    for other in [*eval_loader, *eval_loader]:\n"
            "                        model(**other.to(device))\n"
            "            model.train()"
        },
        ("seed.passes",),
    ),
    "an evaluation first": Edit(
        {
            "    evaluations = []\n": "    evaluations = []\n    model.eval()\n    with torch.no_grad():\n"
            "        model(**next(iter(eval_loader)).to(device))\n"
        },
        ("evaluate.before",),
    ),
    "accuracy by batches": Edit({ACCURACY: "sum(correct) / len(eval_loader)"}, ("evaluate.by_batches",)),
    "accuracy in percent": Edit({ACCURACY: "100 * sum(correct) / len(correct)"}, ("evaluate.percent",)),
    "loss by another length": Edit(
        {"np.mean(losses, dtype=np.float32).item()": "sum(losses) / len(train_dataset)"}, ("evaluate.divided",)
    ),
    "mean of means": Edit(
        {'[output.loss.item()] * len(batch["labels"])': "[output.loss.item()]"}, ("evaluate.mean_of_means",)
    ),
}


@pytest.fixture(scope="module")
def trainer_run(trained: Trained) -> Path:
    return trained("trainer", JOB)


def edited(edit: Edit, folder: Path) -> Path:
    source = MINIMAL.read_text(encoding="utf-8")
    for right, wrong in edit.pieces.items():
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    file = folder / "loop.py"
    file.write_text(source, encoding="utf-8")
    return file


def judged(edit: Edit, trainer_run: Path, folder: Path) -> dict[str, Any]:
    file = edited(edit, folder)
    config = JOB.model_copy(update={"loop": str(file)})
    return compare_runs(run_in_process("manual", config, folder / "run", script=own_script(file)), trainer_run)


@pytest.mark.parametrize("name", EDITS)
def test_what_was_done_to_the_loop_is_found(name: str, trainer_run: Path, tmp_path: Path) -> None:
    edit = EDITS[name]
    comparison = judged(edit, trainer_run, tmp_path)
    first = comparison["first_divergence"]
    if not edit.codes:
        assert first is None, first
        return
    findings = first["findings"]
    assert findings[0]["code"] == edit.codes[0], findings
    assert set(edit.codes) <= {row["code"] for row in findings}
    assert all(row["phase"] == PHASE_OF_TOPIC[row["code"].partition(".")[0]] and row["text"] for row in findings)
    assert (first["likely_cause"], *first["also"]) == tuple(row["text"] for row in findings)


def test_gradients_that_a_clip_gives_the_same_norm_are_told_apart(trainer_run: Path, tmp_path: Path) -> None:
    edit = Edit({"            optimizer.zero_grad()": "            pass"})
    judged(edit, trainer_run, tmp_path)
    norms = {line["step"]: line["grad_norm"] for line in RunRecord.read(trainer_run).steps}
    file = tmp_path / "run" / "record.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [{**line, "grad_norm": norms[line["step"]]} if line["kind"] == "step" else line for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first = compare_runs(tmp_path / "run", trainer_run)["first_divergence"]
    assert (first["step"], first["quantity"]) == (3, "forward_losses")
    assert first["findings"][0]["code"] == "zero.missing"


# Where a check has other codes: any order, any seed and any rounding is right for it, it has a code for each wrong
# schedule, and it does not see what is not part of the training.
CHECKED = {
    "a schedule that rounds differently": (),
    "a loss that differs in its last digit": (),
    "a progress bar": (),
    "every batch twice": ("batch.again",),
    "the first epoch's weights put back": (),  # as the best are
    "another kind of model": ("weights.first",),
    "a part of it": ("batch.missing",),
    "cut to the batch's shortest": ("collator.cut", "evaluate.batch"),
    "masked tokens": ("collator.tokens",),
    "a draw before the order": (),
    "batches of one's own": ("shuffle.moved",),
    "noise in the gradients": ("clip.changed",),
    "two things at once": ("schedule.shape", "evaluate.mean_of_means"),
    "three epochs": ("batch.epochs",),
    "a schedule for fewer steps": ("schedule.shape",),
    "no optimizer of torch's, and another number": ("evaluate.by_batches",),
    "no optimizer of torch's, and one evaluation": ("evaluate.moment",),
    "one evaluation more": (),
    "an evaluation that disturbs": (),
    "the mean rounded": (),
    "an evaluation first": (),
}
# The right loops that are written in the oddest ways, and some wrong ones; the others are slow tests.
SOME = (
    *(
        "further evaluations, of training examples and of another model",
        "inside a module",
        "two optimizers",
        "gradients by another function",
        "no optimizer of torch's",
    ),
    *("the passes in a closure", "R-Drop", "FGM", "an average is evaluated", "a clamp", "a copy is trained"),
    *("a search for a rate", "no step at all", "a part of the model alone", "a scale", "focal loss"),
)


def assert_checked(name: str, folder: Path) -> None:
    """A check makes these findings and no other."""
    result = check_script(own_script(edited(EDITS[name], folder)))
    codes = [row["code"] for row in result.rubric if row["code"]]
    assert codes == list(CHECKED.get(name, EDITS[name].codes)), result.rubric
    assert (result.verdict in GOOD) == (not codes), result.why


@pytest.mark.parametrize("name", SOME)
def test_a_check_finds_it_and_nothing_else(name: str, tmp_path: Path) -> None:
    assert_checked(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(EDITS) - set(SOME)))
def test_a_check_finds_the_others_and_nothing_else(name: str, tmp_path: Path) -> None:
    """The rest of the table: half a minute."""
    assert_checked(name, tmp_path)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ({LOSS: f"            batch['label'] = batch.pop('labels')\n{LOSS}"}, "`labels`"),
        ({"train_dataset, eval_dataset, config": "train_loader, optimizer, epoch"}, "train_loader"),
        ({"import numpy as np": "import numpy as np  # à la main"}, "UTF-8"),
        ({"    return evaluations\n": "    yield evaluations\n"}, "yield"),
    ],
)
def test_a_mistake_of_the_file_is_reported_with_its_fix(pieces: dict[str, str], message: str, tmp_path: Path) -> None:
    file = edited(Edit(pieces), tmp_path)
    file.write_text(file.read_text(encoding="utf-8"), encoding="cp1252")
    config = RunConfig.build("tiny", loop=str(file))
    with pytest.raises(ScriptError, match=message):
        run_in_process("manual", config, tmp_path / "run", script=own_script(file))


def test_a_loop_in_a_notebook_is_compared(trainer_run: Path, tmp_path: Path) -> None:
    """Its other cells are not run; a mistake in it has its line among those of the code cells."""
    text = MINIMAL.read_text(encoding="utf-8")
    cells = ["!pip install nothing\nraise SystemExit", text]
    file = tmp_path / "loop.ipynb"
    whole = {"cells": [{"cell_type": "code", "source": source} for source in cells], "nbformat": 4}
    file.write_text(json.dumps(whole), encoding="utf-8")
    config = JOB.model_copy(update={"loop": str(file)})
    run = run_in_process("manual", config, tmp_path / "run", script=own_script(file))
    assert compare_runs(run, trainer_run)["verdict"] == "identical"
    file.write_text("[]", encoding="utf-8")
    with pytest.raises(SameLoopError, match="is no notebook"):
        own_script(file)
