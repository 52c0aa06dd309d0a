"""The gallery: mistakes that people have made in loops of their own, each an edit of the minimal page.

Where each happened is in `source`; the facts are the threads', the edits are ours. `sameloop check` must fail `item`
for each, and no other item. What cannot be seen in a loop's run, or not in one process on one machine, is in `UNSEEN`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.running.children import ROOT
from shared.running.page import Page, own_page

MINIMAL = ROOT / "manual_loop" / "minimal.py"
Pieces = tuple[tuple[str, str], ...]

SEED = "    set_seed(config.seed)  # dropout draws from here on\n"
SAMPLED = "DataLoader(train_dataset, sizes[0], sampler=shuffle, collate_fn=pad)"
ORDER = "        order.manual_seed(config.seed + epoch)\n"
FOR = "        for batch in loader:  # ids and mask (batch, tokens), labels (batch,)\n"
TRAIN = "            model.train()  # dropout on: the evaluation switched it off\n"
FORWARD = "            loss = model(**batch.to(device)).loss  # the batch's mean, a scalar\n"
BACKWARD = "            loss.backward()\n"
CLIP = "            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
STEP = "            optimizer.step()\n"
RATE = "            scheduler.step()  # the learning rate, in a straight line to 0\n"
ZERO = "            optimizer.zero_grad()  # backward() adds to what is there\n"
OPTIMIZER = "torch.optim.AdamW(model.parameters(), rate, weight_decay=0, fused=True)"
SCHEDULE = "LambdaLR(optimizer, lambda step: (steps - step) / steps)"
EVAL = "        model.eval()\n"
BEGIN = "    evaluations = []\n"

# Right additions to the minimal page that a mistake may need to be possible at all.
SHARED = " / share"
ENDS = """            if number % per_step and number < len(loader):
                continue  # the step goes on with the next batch
"""
ACCUMULATE: Pieces = (
    ("import numpy as np\n", "import math\n\nimport numpy as np\n"),
    (
        "    steps = epochs * len(loader)\n",
        "    per_step = config.gradient_accumulation_steps\n    steps = epochs * math.ceil(len(loader) / per_step)\n",
    ),
    (
        FOR,
        "        for number, batch in enumerate(loader, start=1):\n"
        "            first = (number - 1) // per_step * per_step  # of this step's batches\n"
        "            share = min(per_step, len(loader) - first)  # the last step may have fewer\n",
    ),
    (FORWARD, f"            loss = model(**batch.to(device)).loss{SHARED}\n"),
    (CLIP, ENDS + CLIP),
)
DECAY: Pieces = (
    (
        "    optimizer = " + OPTIMIZER,
        """    named = list(model.named_parameters())
    spared = [each for name, each in named if "bias" in name or "norm" in name.lower()]
    decayed = [each for name, each in named if "bias" not in name and "norm" not in name.lower()]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, rate, fused=True)""",
    ),
)
WARMUP: Pieces = (
    (
        "from transformers import DataCollatorWithPadding, set_seed",
        "from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup, set_seed",
    ),
    (SCHEDULE, "get_linear_schedule_with_warmup(optimizer, int(config.warmup_steps), steps)"),
)


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        name: as `sameloop break NAME` takes it.
        what: the mistake in words.
        item: what `sameloop check` must fail for it.
        cause: what the cause must contain.
        pieces: what of the page is replaced by what, in order.
        source: where it happened in public.
        setting: what the page is given first, rightly.
        dials: under which the mistake is one.
    """

    name: str
    what: str
    item: str
    cause: str
    pieces: Pieces
    source: str
    setting: Pieces = ()
    dials: Mapping[str, Any] = field(default_factory=dict)


FOUR: dict[str, Any] = {"gradient_accumulation_steps": 4}
THREE: dict[str, Any] = {"gradient_accumulation_steps": 3}

_ALL = (
    # Data
    Mistake(
        "not_shuffled",
        "the training set is not shuffled",
        "shuffle",
        "not shuffled",
        ((SAMPLED, SAMPLED.replace("sampler=shuffle, ", "")),),
        "google-research/bert #324, super-gradients #416",
    ),
    Mistake(
        "same_order",
        "every epoch has the same order",
        "shuffle",
        "shuffle anew in every epoch",
        ((ORDER, ORDER.replace(" + epoch", "")),),
        "pytorch #31771, transformers #4398",
    ),
    Mistake(
        "one_class",
        "the first half of a set that is sorted by label: one class only",
        "batch",
        "does not come to all reviews",
        ((SEED, SEED + '    train_dataset = train_dataset.sort("labels").select(range(len(train_dataset) // 2))\n'),),
        'split="train[:2000]" of IMDB, in many tutorials',
    ),
    Mistake(
        "padded_to_one_length",
        "every batch is padded to one length",
        "collator",
        "padded beyond its longest review",
        (
            (
                "DataCollatorWithPadding(tokenizer)  # to the batch's longest review",
                'DataCollatorWithPadding(tokenizer, "max_length", config.max_length)',
            ),
        ),
        "rasbt/LLMs-from-scratch, chapter 6: 2.46 minutes against 0.28",
    ),
    Mistake(
        "no_mask",
        "the attention mask is not handed to the model",
        "forward",
        "not handed to the model",
        ((FORWARD, '            loss = model(batch["input_ids"], labels=batch["labels"]).loss\n'),),
        "AES-NPCR #7 (2026)",
    ),
    Mistake(
        "mask_of_ones",
        "the attention mask is all ones",
        "forward",
        "all ones",
        ((FORWARD, '            batch["attention_mask"].fill_(1)\n' + FORWARD),),
        "bert_nli PR #3",
    ),
    Mistake(
        "mask_inverted",
        "the attention mask is inverted",
        "forward",
        "inverted",
        ((FORWARD, '            batch["attention_mask"] = 1 - batch["attention_mask"]\n' + FORWARD),),
        'nyu-mll/jiant PR #465 ("critical bug")',
    ),
    # Mode
    Mistake(
        "no_train_mode",
        "model.train() is never called",
        "train mode",
        "model.train() was not called before this step",
        ((TRAIN, ""),),
        "transformers PR #1703, its own README's example",
    ),
    Mistake(
        "train_mode_once",
        "model.train() is called once, before the first epoch",
        "train mode",
        "not called after the evaluation",
        ((TRAIN, ""), (BEGIN, BEGIN + "    model.train()\n")),
        "huggingface/lerobot #3668 (2026)",
    ),
    Mistake(
        "no_eval_mode",
        "model.eval() is not called for the evaluation",
        "evaluate",
        "model.eval() is missing",
        ((EVAL, ""),),
        "ethos-ares #20, a published paper's results",
    ),
    Mistake(
        "functional_dropout",
        "a functional dropout that does not know the mode",
        "evaluate",
        "answers in the evaluation",
        (
            (
                BEGIN,
                BEGIN + "    drop, share = torch.nn.functional.dropout, model.dropout.p\n"
                "    model.dropout.forward = lambda hidden: drop(hidden, share)\n",
            ),
        ),
        "karpathy/nanoGPT PR #240",
    ),
    # Loss
    Mistake(
        "loss_not_divided",
        "the loss is not divided by the number of accumulated batches",
        "loss",
        "not divided by the 4 batches",
        ((SHARED + "\n", "\n"),),
        "transformers #47688",
        ACCUMULATE,
        FOUR,
    ),
    Mistake(
        "short_group",
        "a short last group is divided by the full number",
        "loss",
        "divided by 3, but this step",
        ((SHARED + "\n", " / per_step\n"),),
        "Lightning #19987",
        ACCUMULATE,
        THREE,
    ),
    Mistake(
        "kept_graphs",
        "the losses are added up with their graphs",
        "loss",
        "graphs of earlier steps are still held",
        ((BEGIN, BEGIN + "    total = 0\n"), (BACKWARD, BACKWARD + "            total += loss\n")),
        "PyTorch's FAQ, ray PR #40940",
    ),
    # Gradients
    Mistake(
        "no_zero_grad",
        "zero_grad() is missing",
        "zero",
        "zero_grad() is missing",
        ((ZERO, ""),),
        "meta-pytorch/torchforge PR #71 (2025), StackOverflow 60335387",
    ),
    Mistake(
        "zero_per_epoch",
        "zero_grad() once per epoch",
        "zero",
        "zero_grad() is missing",
        ((ZERO, ""), (ORDER, ORDER + "        optimizer.zero_grad()\n")),
        "pytorch #47175",
    ),
    Mistake(
        "zero_inside",
        "zero_grad() at every small batch, inside the accumulation",
        "zero",
        "between the batches of one step",
        ((BACKWARD, "            optimizer.zero_grad()\n" + BACKWARD),),
        "huggingface/accelerate #616, the official documentation",
        ACCUMULATE,
        FOUR,
    ),
    Mistake(
        "step_on_first",
        "a step at the first of the accumulated batches",
        "step",
        "another number of batches",
        (
            (
                "            if number % per_step and number < len(loader):\n",
                "            if (number - 1) % per_step:\n",
            ),
        ),
        "ten files of huggingface/accelerate/examples, rasbt/LLMs-from-scratch #299",
        ACCUMULATE,
        FOUR,
    ),
    Mistake(
        "tail_never_stepped",
        "an epoch's last batches, fewer than a step has, leak into the next epoch",
        "step",
        "no step follows batch 8",
        ((" and number < len(loader):", ":"),),
        "torchtune PR #2745, timoschick/pet #36",
        ACCUMULATE,
        THREE,
    ),
    Mistake(
        "step_outside",
        "optimizer.step() outside the accumulation's if",
        "step",
        "another number of batches",
        ((STEP, ""), (BACKWARD, BACKWARD + STEP)),
        "thunlp/OpenPrompt #106",
        ACCUMULATE,
        FOUR,
    ),
    Mistake(
        "no_clip",
        "no clip, where Trainer clips at 1.0",
        "clip",
        "unclipped",
        ((CLIP, ""),),
        "the Hugging Face course, chapter 3",
    ),
    Mistake(
        "clip_after_step",
        "the clip comes after the step",
        "clip",
        "after the step",
        ((CLIP, ""), (STEP, STEP + CLIP)),
        "awslabs/graphstorm #1366, five trainers",
    ),
    Mistake(
        "clip_before_backward",
        "the clip comes before the backward pass",
        "clip",
        "before the backward pass",
        ((CLIP, ""), (BACKWARD, CLIP + BACKWARD)),
        "nano-world-model PR #22 (2026)",
    ),
    Mistake(
        "clip_every_batch",
        "the clip at every small batch",
        "clip",
        "after every batch",
        ((CLIP, ""), (BACKWARD, BACKWARD + CLIP)),
        "transformers #1563",
        ACCUMULATE,
        FOUR,
    ),
    Mistake(
        "weights_in_bf16",
        "the weights themselves are in bfloat16",
        "step",
        "bfloat16",
        (("    model.to(device)\n", "    model.to(device, torch.bfloat16)\n"),),
        "ml-by-hand PR #85: 0 of 768 weights moved in 100 steps",
    ),
    # Optimizer and schedule
    Mistake(
        "torch_decay",
        "torch's own weight decay of 0.01, where Trainer has none",
        "optimizer",
        "0.01 is torch's own default",
        ((OPTIMIZER, OPTIMIZER.replace("weight_decay=0, ", "")),),
        "the Hugging Face course, chapter 3",
    ),
    Mistake(
        "all_decay",
        "biases and norms decay, too",
        "optimizer",
        "biases and norms never decay",
        (('{"params": spared, "weight_decay": 0}', '{"params": spared, "weight_decay": config.weight_decay}'),),
        "karpathy/minGPT #23, transformers #42754 (2025)",
        DECAY,
        {"weight_decay": 0.1},
    ),
    Mistake(
        "mistyped_key",
        "a mistyped key of a group is silently ignored",
        "optimizer",
        "weight_decay",
        (
            (
                OPTIMIZER,
                'torch.optim.AdamW([{"params": list(model.parameters()), "weight_decay_rate": 0}], rate, fused=True)',
            ),
        ),
        "transformers #8396",
    ),
    Mistake(
        "schedule_per_batch",
        "the schedule is moved at every small batch",
        "schedule step",
        "after every batch",
        ((RATE, ""), (BACKWARD, BACKWARD + RATE)),
        "accelerate #963, starVLA PR #210 (2026)",
        ACCUMULATE,
        FOUR,
    ),
    Mistake(
        "warmup_swapped",
        "warm-up and total are swapped",
        "schedule step",
        "warm-up",
        (("int(config.warmup_steps), steps)", "steps, int(config.warmup_steps))"),),
        "cross-doc-misinfo-detection #1",
        WARMUP,
        {"warmup_steps": 4},
    ),
    Mistake(
        "schedule_first",
        "the schedule is moved before the optimizer",
        "schedule step",
        "one step ahead",
        ((RATE, ""), (STEP, RATE + STEP)),
        "transformers PR #1136",
    ),
    Mistake(
        "schedule_per_epoch",
        "the schedule is moved once per epoch, not after every step",
        "schedule step",
        "once per epoch",
        ((RATE, ""), (EVAL, "        scheduler.step()\n" + EVAL)),
        "espnet PR #3319",
    ),
    # Evaluation
    Mistake(
        "eval_drop_last",
        "drop_last=True on the evaluation's loader",
        "evaluate",
        "drop_last",
        (
            (
                "DataLoader(eval_dataset, sizes[1], collate_fn=pad)",
                "DataLoader(eval_dataset, sizes[1], collate_fn=pad, drop_last=True)",
            ),
        ),
        "thuml/Nonstationary_Transformers #26: an error of 1.89 reported, 2.94 in truth",
    ),
    Mistake(
        "mean_of_means",
        "the evaluation's loss is the mean of the batches' means",
        "evaluate",
        "mean of the batches' losses",
        (
            (
                'losses += [output.loss.item()] * len(batch["labels"])  # one per review',
                "losses += [output.loss.item()]",
            ),
        ),
        "mlcommons/training #89, MLPerf's IMDB reference",
    ),
    Mistake(
        "graphs_in_evaluation",
        "the evaluation builds graphs",
        "evaluate",
        "torch.no_grad() is missing",
        (("            with torch.no_grad():\n", "            with torch.enable_grad():\n"),),
        "macrocosm-os/pretraining PR #104",
    ),
)
MISTAKES = {mistake.name: mistake for mistake in _ALL}

# Mistakes of the same threads that a check does not see, and what does.
UNSEEN = {
    "the seed is set after the model was built (huggingface/trl PR #4887, PaddleNLP #6546, transformers #11965)": (
        "a checked loop is handed its model; `sameloop compare` sees it in the initial weights"
    ),
    "the logged training loss is the last small batch's (nanoGPT's train.py says so)": (
        "a checked loop returns its evaluations only; `sameloop compare` sees it in the log of a page that has one"
    ),
    "numpy's random state is alike in all loader workers (pytorch #5059, fairseq #1383)": (
        "nothing here draws from numpy in a worker: there is no augmentation of text"
    ),
    "gradients are clipped while fp16 scales them (pytorch/examples #1196)": (
        "fp16 needs a GPU, a check runs on the CPU"
    ),
    'the "best" weights are kept by reference (pytorch/tutorials PR #188)': (
        "a check judges the training and the evaluations, not which weights are kept in the end"
    ),
    "the best epoch is chosen on the test set": (
        "the loop computes nothing that is wrong: no run can show it, only the text that reports it"
    ),
    "resumed without the state of schedule or optimizer (PolymathicAI/the_well #77)": (
        "a check does not resume; `sameloop compare` with a checkpoint does"
    ),
    "the wrapped model is bypassed under several processes (x.com/jxmnop/status/1778520637193240892)": (
        "a check is one process; `sameloop compare --nproc-per-node 2` sees it"
    ),
}


def right_page(mistake: Mistake | None = None) -> Page:
    """The minimal page with what a mistake needs, before the mistake."""
    return edited(own_page(MINIMAL), mistake.setting if mistake else ())


def wrong_page(mistake: Mistake) -> Page:
    """The page with the mistake planted.

    Raises:
        ValueError: an edit applies no longer, exactly once.
    """
    return edited(right_page(mistake), mistake.pieces)


def edited(page: Page, pieces: Pieces) -> Page:
    """A page with pieces of its text replaced, one after the other; raises as `Page.edited`."""
    for right, wrong in pieces:
        page = page.edited(right, wrong)
    return page


def differing_lines(before: Page, after: Page) -> list[tuple[str, str]]:
    """The lines in which two pages differ, in order: `-` and a line that goes, `+` and one that comes."""
    lines = difflib.ndiff(before.source.splitlines(), after.source.splitlines())
    return [(line[0], line[2:]) for line in lines if line[0] in "+-"]
