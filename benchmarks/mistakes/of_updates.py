"""Mistakes in how the weights are updated: optimizer and schedule."""

from __future__ import annotations

from benchmarks.mistakes import line
from benchmarks.mistakes.mistake import LadderStep, Mistake, Question, Verdict

# At a smaller rate it depends on torch's rounding whether losses or gradients differ first, and in which step.
LEARNING_FAST = {"learning_rate": 0.01}
DECAYING = {"weight_decay": 0.1, **LEARNING_FAST}
RATES = (
    "    matrices = [p for p in model.parameters() if p.ndim > 1]\n"
    "    others = [p for p in model.parameters() if p.ndim == 1]\n"
    '    groups = [{"params": matrices}, {"params": others, "lr": 2 * lr}]\n'
)


OF_UPDATES = (
    # Optimizer
    Mistake(
        "torch_decay",
        "torch's own weight decay of 0.01, where Trainer has none",
        "optimizer",
        ((", weight_decay=0", ""),),
        compared=Verdict("step 2: forward_losses", "optimizer.settings", settings=LEARNING_FAST),
        source="the Hugging Face course, chapter 3",
        question=Question(((", weight_decay=0,", ","),), "weight decay is 0.01, torch's own default", asked=True),
        step=LadderStep(
            3, "weight_decay", "Trainer's AdamW does not decay weights by default; torch's AdamW does, by 0.01."
        ),
    ),
    Mistake(
        "all_decay",
        "biases and norms decay, too",
        "optimizer",
        (('{"params": no_decay, "weight_decay": 0}', '{"params": no_decay, "weight_decay": config.weight_decay}'),),
        compared=Verdict("step 2: forward_losses", "optimizer.settings", settings=DECAYING),
        source="karpathy/minGPT #23, transformers #42754 (2025)",
        setting=line.DECAY,
        settings={"weight_decay": 0.1},
    ),
    Mistake(
        "norms_decay",
        "biases do not decay, norms do",
        "optimizer",
        (
            ('if "bias" in name or "norm" in name.lower()]', 'if "bias" in name]'),
            ('if "bias" not in name and "norm" not in name.lower()]', 'if "bias" not in name]'),
        ),
        compared=Verdict("step 2: forward_losses", "optimizer.settings", settings=DECAYING),
        setting=line.DECAY,
        settings={"weight_decay": 0.1},
    ),
    Mistake(
        "mistyped_key",
        "a mistyped key of a group is silently ignored",
        "optimizer",
        line.instead(
            line.OPTIMIZER,
            'torch.optim.AdamW([{"params": list(model.parameters()), "weight_decay_rate": 0}], lr, fused=True)',
        ),
        compared=Verdict("step 2: forward_losses", "optimizer.settings", settings=LEARNING_FAST),
        source="transformers #8396",
    ),
    Mistake(
        "not_fused",
        "the plain AdamW, where Trainer takes the fused one",
        "optimizer",
        ((", fused=True", ""),),
        compared=Verdict("grad_norm", "optimizer.settings"),
        check="",
        step=LadderStep(
            4, "fused", "Trainer takes the fused AdamW: the same formula, with other rounding in the last bit."
        ),
    ),
    Mistake(
        "adamw_default",
        "AdamW(model.parameters(), lr=...), as every tutorial has it",
        "optimizer",
        ((line.OPTIMIZER, "torch.optim.AdamW(model.parameters(), lr=lr)"),),
        compared=Verdict("step 2: forward_losses", "optimizer.settings", settings=LEARNING_FAST),
    ),
    Mistake(
        "sgd",
        "SGD instead of AdamW",
        "optimizer",
        ((line.OPTIMIZER, "torch.optim.SGD(model.parameters(), lr)"),),
        compared=Verdict("step 2: forward_losses", "optimizer.settings"),
    ),
    Mistake(
        "rate_doubled",
        "twice the learning rate",
        "optimizer",
        line.changed(line.OPTIMIZER, "lr, ", "2 * lr, "),
        compared=Verdict("step 1: learning_rate", "schedule.rate"),
        items=("schedule step",),
    ),
    Mistake(
        "rate_of_one_group",
        "another learning rate in one group",
        "optimizer",
        line.instead(
            "    optimizer = " + line.OPTIMIZER,
            RATES + "    optimizer = torch.optim.AdamW(groups, lr, weight_decay=0, fused=True)",
        ),
        compared=Verdict("step 2: forward_losses", "optimizer.rates"),
    ),
    Mistake(
        "head_not_in_optimizer",
        "the head is in none of the optimizer's groups",
        "optimizer",
        line.changed(line.OPTIMIZER, "model.parameters", "model.base_model.parameters"),
        compared=Verdict("step 1: grad_norm", "optimizer.missing"),
        items=("optimizer", "zero"),
    ),
    Mistake(
        "new_optimizer",
        "a new AdamW in every epoch: its averages start over",
        "optimizer",
        line.after(
            line.ORDER,
            f"        optimizer = {line.OPTIMIZER}\n"
            "        scheduler.optimizer = optimizer\n"
            '        optimizer.param_groups[0]["lr"] = scheduler.get_last_lr()[0]\n',
        ),
        compared=Verdict("forward_losses", "optimizer.again"),
    ),
    # Schedule
    Mistake(
        "schedule_per_batch",
        "the schedule is moved at every small batch",
        "schedule step",
        ((line.RATE, ""), (line.BACKWARD, line.BACKWARD + line.RATE)),
        # With four, the rate is at 0 before one can see how fast it falls.
        compared=Verdict("step 1: learning_rate", "schedule.rate", settings=line.TWO),
        check="schedule.per_batch",
        source="accelerate #963, starVLA PR #210 (2026)",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
    ),
    Mistake(
        "schedule_of_batches",
        "the schedule's length in batches, not in steps",
        "schedule step",
        (("math.ceil(len(loader) / per_step)", "len(loader)"),),
        compared=Verdict("step 2: learning_rate", "schedule.rate", settings=line.TWO),
        check="schedule.batch_total",
        setting=line.ACCUMULATE,
        settings=line.FOUR,
    ),
    Mistake(
        "schedule_of_one_epoch",
        "the schedule has the length of one epoch",
        "schedule step",
        ((line.FALLING, "lambda step: max(0, len(loader) - step) / len(loader)"),),
        compared=Verdict("step 2: learning_rate", "schedule.rate"),
        check="schedule.epoch_total",
    ),
    Mistake(
        "four_steps_more",
        "the schedule has four more steps than the epochs",
        "schedule step",
        line.changed(line.STEPS, "\n", " + 4\n"),
        compared=Verdict("step 2: learning_rate", "schedule.rate"),
        check="schedule.shape",
    ),
    Mistake(
        "constant_rate",
        "the learning rate stays constant",
        "schedule",
        ((line.FALLING, "lambda step: 1.0"),),
        compared=Verdict("step 2: learning_rate", "schedule.rate"),
        check="schedule.constant",
        items=("schedule step",),
        question=Question((("lambda step: (max_steps - step) / max_steps", "lambda step: 1.0"),)),
    ),
    Mistake(
        "no_scheduler_step",
        "scheduler.step() is never called",
        "schedule step",
        ((line.RATE, ""),),
        compared=Verdict("step 2: learning_rate", "schedule.rate"),
        check="schedule.constant",
        question=Question((("            scheduler.step()", "            pass"),), asked=True),
    ),
    Mistake(
        "warmup_swapped",
        "warm-up and total are swapped",
        "schedule step",
        (("int(config.warmup_steps), steps)", "steps, int(config.warmup_steps))"),),
        compared=Verdict("step 2: learning_rate", "schedule.rate"),
        check="schedule.shape",
        source="cross-doc-misinfo-detection #1",
        setting=line.WARMUP,
        settings={"warmup_steps": 4},
    ),
    Mistake(
        "schedule_first",
        "the schedule is moved before the optimizer",
        "schedule step",
        ((line.RATE, ""), (line.STEP, line.RATE + line.STEP)),
        compared=Verdict("step 1: learning_rate", "schedule.rate"),
        check="schedule.ahead",
        source="transformers PR #1136",
    ),
    Mistake(
        "schedule_per_epoch",
        "the schedule is moved once per epoch, not after every step",
        "schedule step",
        ((line.RATE, ""), (line.EVAL, "        scheduler.step()\n" + line.EVAL)),
        compared=Verdict("step 2: learning_rate", "schedule.rate"),
        check="schedule.per_epoch",
        source="espnet PR #3319",
    ),
)
