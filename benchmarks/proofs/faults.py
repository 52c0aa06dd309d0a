"""One-line faults that hand-written loops have, and what the verdict must say of each.

Each replaces a piece of `manual_loop/train.py` (or a neighbour) by a wrong one; the page itself is never changed. The
tests plant every one and check that the verdict finds it where `step` and `quantity` say, with `cause` in its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[2] / "manual_loop" / "train.py"

# What all faults are shown with: a clip below the gradients' usual norm, so that it bites in every step, and two
# epochs of 8 steps, so that step 9 is the first after an evaluation.
DIALS: dict[str, Any] = {
    "train_size": 64,
    "eval_size": 32,
    "max_length": 64,
    "num_train_epochs": 2,
    "max_grad_norm": 0.1,
}


class Fault(NamedTuple):
    """One wrong piece of the page.

    Attributes:
        mistake: what was done wrong, in words.
        right, wrong: the piece of the page and what replaces it.
        step, quantity: where the verdict must see the first difference.
        cause: what its likely cause must contain.
        dials: what to set, on top of `DIALS`, for the fault to show.
    """

    mistake: str
    right: str
    wrong: str
    step: int
    quantity: str
    cause: str
    dials: Mapping[str, Any] = MappingProxyType({})


FAULTS = {
    "head_seed": Fault(
        "the model is built before the seed is set",
        "before they are thrown.\n    set_seed(config.seed)\n",
        "\n",
        0,
        "initial weights: pre_classifier.weight",
        "the head:",
    ),
    "no_second_seed": Fault(
        "no seed before training",
        "so that dropout starts from here, whatever was drawn before.\n    set_seed(config.seed)\n",
        "\n",
        1,
        "rng",
        "seed again right before training",
    ),
    "plain_shuffle": Fault(
        "the sampler draws from the global random state, as with `shuffle=True`",
        "RandomSampler(train_dataset, generator=order)",
        "RandomSampler(train_dataset)",
        1,
        "batch",
        "the sampler: other reviews from the first batch on",
    ),
    "same_order_every_epoch": Fault(
        "the sampler's seed does not change with the epoch",
        "order.manual_seed(data_seed + epoch)",
        "order.manual_seed(data_seed)",
        9,
        "batch",
        "the sampler: the order differs from this epoch on",
    ),
    "never_reseeded": Fault(
        "the sampler is seeded once and runs on",
        "order.manual_seed(data_seed + epoch)",
        "epoch or order.manual_seed(data_seed)",
        9,
        "batch",
        "the sampler: the order differs from this epoch on",
    ),
    "padded_to_one_length": Fault(
        "every batch is padded to one length",
        "DataCollatorWithPadding(tokenizer)",
        "DataCollatorWithPadding(tokenizer, padding='max_length', max_length=64)",
        1,
        "batch",
        "the collator:",
    ),
    "last_batch_dropped": Fault(
        "the epoch's last batch, which is not full, is left out",
        "sampler=sampler, **options)",
        "sampler=sampler, **{**options, 'drop_last': True})",
        7,
        "evaluation",
        "check whether a last batch that is not full is left out",
        {"train_size": 60, "lr_scheduler_type": "constant"},
    ),
    "no_train_mode": Fault(
        "model.train() is never called",
        "            training_model.train()  # Train mode: dropout on; the evaluation put it off.\n",
        "",
        1,
        "mode",
        "model.train() was not called before this step",
    ),
    "train_mode_once": Fault(
        "model.train() is called only once",
        "            training_model.train()  # Train mode",
        "            state.step or training_model.train()  # Train mode",
        9,
        "mode",
        "model.train() was not called after the evaluation",
    ),
    "no_eval_mode": Fault(
        "model.eval() is not called for the evaluation",
        "    model.eval()\n",
        "",
        8,
        "eval_forward_mode",
        "call model.eval()",
    ),
    "stray_draw": Fault(
        "a random number is drawn between two steps",
        "            progress.update()",
        "            torch.rand(1)\n            progress.update()",
        2,
        "rng",
        "a stray draw:",
    ),
    "loss_not_divided": Fault(
        "the loss is not divided by the number of accumulated batches",
        "            loss = loss / batches_of_step(number, train_loader, per_step)\n",
        "",
        1,
        "losses",
        "the loss's scale: the model's loss is equal, the one handed to backward() is not (by hand 4 times",
        {"gradient_accumulation_steps": 4},
    ),
    "no_clip": Fault(
        "no clip",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), limit)",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)",
        1,
        "grad_norm",
        "the clip: by hand the gradients reach the optimizer at norm",
    ),
    "no_zero_grad": Fault(
        "no zero_grad",
        "            optimizer.zero_grad()  # Zero: the next gradients would be added to these.\n",
        "",
        2,
        "grad_norm",
        "zero_grad() is missing",
        {"max_grad_norm": 0},
    ),
    "weight_decay": Fault(
        "torch's default weight decay",
        "settings = adamw_settings(config)",
        "settings = adamw_settings(config) | {'weight_decay': 0.01}",
        2,
        "forward_losses",
        "weight_decay 0.01 by hand, 0.0 in Trainer",
    ),
    "one_group": Fault(
        "biases and norms decay too",
        "settings = adamw_settings(config)",
        "settings = adamw_settings(config) | {'weight_decay': config.weight_decay}",
        2,
        "forward_losses",
        "weight_decay 0.1 by hand, 0.0 in Trainer",
        # At a smaller rate it depends on torch's rounding in which step this is seen first.
        {"weight_decay": 0.1, "learning_rate": 0.01},
    ),
    "other_optimizer": Fault(
        "SGD instead of AdamW",
        "    parameters = parameter_groups(model, config)\n",
        "    config = config.model_copy(update={'optim': 'sgd'})\n    parameters = parameter_groups(model, config)\n",
        2,
        "forward_losses",
        "SGD by hand, AdamW in Trainer",
    ),
    "no_scheduler_step": Fault(
        "no scheduler.step",
        "                scheduler.step()",
        "                pass",
        2,
        "learning_rate",
        "call scheduler.step()",
    ),
    "schedule_per_epoch": Fault(
        "the schedule counts on one epoch only",
        "(max_steps - step) / max_steps",
        "max(0, steps_per_epoch - step) / steps_per_epoch",
        2,
        "learning_rate",
        "check its shape, the warm-up and the total number of steps",
    ),
    "torch_mean": Fault(
        "the evaluation loss is the mean of the batches' means",
        "losses.append(gather(loss.repeat(len(logits))))",
        "losses.append(gather(loss.repeat(1)))",
        8,
        "eval_loss",
        "the evaluation's mean:",
        {"eval_size": 29},
    ),
    "one_step_short": Fault(
        "the loop stops one step early",
        "            if cut_short and state.ends:\n",
        "            if state.step == max_steps - 1:\n",
        16,
        "number of steps",
        "check when the loop stops",
        {"eval_strategy": "no", "logging_strategy": "no"},
    ),
}


def faulty_page(fault: Fault) -> ModuleType:
    """A copy of the manual page with the fault planted, as a module with a `train` of its own.

    Raises:
        ValueError: the page no longer holds the piece exactly once.
    """
    source = PAGE.read_text(encoding="utf-8")
    if source.count(fault.right) != 1:
        raise ValueError(f"the page holds this piece {source.count(fault.right)} times, not once: {fault.right!r}")
    page = ModuleType("manual_loop.faulty_train")
    page.__file__ = str(PAGE)
    exec(compile(source.replace(fault.right, fault.wrong), str(PAGE), "exec"), page.__dict__)
    return page
