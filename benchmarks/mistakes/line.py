"""Lines of the minimal loop that mistakes are made in, and what is added to it first where a mistake needs more."""

from __future__ import annotations

from typing import Any

from benchmarks.mistakes.mistake import Pieces

SEED = "    set_seed(config.seed)  # dropout's random numbers start here\n"
PLACED = "    model.to(device)\n"
SAMPLER = "RandomSampler(train_dataset, generator=generator)"
SAMPLED = "DataLoader(train_dataset, batch_size, sampler=sampler, collate_fn=collator)"
PAD = "DataCollatorWithPadding(tokenizer)"
EVAL_LOADER = "DataLoader(eval_dataset, eval_batch_size, collate_fn=collator)"
ORDER = "        generator.manual_seed(config.seed + epoch)  # as Trainer does for every epoch\n"
EPOCHS = "    for epoch in range(epochs):\n"
FOR = "        for batch in loader:  # ids and mask (batch, tokens), labels (batch,)\n"
TRAIN = "            model.train()  # dropout on: the evaluation switched it off\n"
FORWARD = "            loss = model(**batch.to(device)).loss  # the batch's mean, a scalar\n"
BACKWARD = "            loss.backward()\n"
CLIP = "            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
STEP = "            optimizer.step()\n"
RATE = "            scheduler.step()  # lowers the learning rate linearly to 0\n"
ZERO = "            optimizer.zero_grad()  # backward() adds to what is there\n"
OPTIMIZER = "torch.optim.AdamW(model.parameters(), lr, weight_decay=0, fused=True)"
STEPS = "    steps = epochs * len(loader)\n"
FALLING = "lambda step: (steps - step) / steps"
SCHEDULE = f"LambdaLR(optimizer, {FALLING})"
EVAL = "        model.eval()\n"
EVAL_FOR = "        for batch in eval_loader:\n"
EVAL_FORWARD = "                output = model(**batch.to(device))  # logits (batch, classes)\n"
LOSSES = '            losses += [output.loss.item()] * len(batch["labels"])  # one per review\n'
BEGIN = "    evaluations = []\n"
RETURN = "    return evaluations\n"

# Right additions to the minimal loop without which some mistakes would not be possible.
SHARED = " / share"
ENDS = """            if number % per_step and number < len(loader):
                continue  # the step goes on with the next batch
"""
ACCUMULATE: Pieces = (
    ("import numpy as np\n", "import math\n\nimport numpy as np\n"),
    (
        STEPS,
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
    no_decay = [p for name, p in named if "bias" in name or "norm" in name.lower()]
    decay = [p for name, p in named if "bias" not in name and "norm" not in name.lower()]
    groups = [
        {"params": decay, "weight_decay": config.weight_decay},
        {"params": no_decay, "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, lr, fused=True)""",
    ),
)
WARMUP: Pieces = (
    (
        "from transformers import DataCollatorWithPadding, set_seed",
        "from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup, set_seed",
    ),
    (SCHEDULE, "get_linear_schedule_with_warmup(optimizer, int(config.warmup_steps), steps)"),
)
# The same loop with accelerate.
BACKWARD_OF_ACCELERATE = "            accelerator.backward(loss)\n"
CLIP_OF_ACCELERATE = "            accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)\n"
SEEDABLE: Pieces = (
    ("import Accelerator, DataLoaderConfiguration\n", "import Accelerator\n"),
    ("    order = DataLoaderConfiguration(use_seedable_sampler=True)\n", ""),
    ("dataloader_config=order", ""),
)
ACCELERATE: Pieces = (
    ("import torch\n", "import torch\nfrom accelerate import Accelerator, DataLoaderConfiguration\n"),
    ("DataLoader, RandomSampler\n", "DataLoader\n"),
    (
        '    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")\n' + PLACED,
        "    order = DataLoaderConfiguration(use_seedable_sampler=True)\n"
        "    accelerator = Accelerator(dataloader_config=order)\n",
    ),
    (
        "    generator = torch.Generator()  # only for the order; dropout uses the global one\n"
        f"    sampler = {SAMPLER}\n",
        "",
    ),
    ("sampler=sampler", "shuffle=True"),
    (
        "    optimizer = " + OPTIMIZER + "\n",
        f"    optimizer = {OPTIMIZER}\n"
        "    prepared = accelerator.prepare(model, optimizer, loader, eval_loader)\n"
        "    model, optimizer, loader, eval_loader = prepared\n",
    ),
    (ORDER, ""),
    (FORWARD, FORWARD.replace("batch.to(device)", "batch")),
    (BACKWARD, BACKWARD_OF_ACCELERATE),
    (CLIP, CLIP_OF_ACCELERATE),
    (EVAL_FORWARD, EVAL_FORWARD.replace("batch.to(device)", "batch")),
)
# accelerator.backward() divides by the number of batches again, hence the factor.
SHARES = " / share * per_step"
ACCELERATE_ACCUMULATES: Pieces = (
    *ACCELERATE,
    *ACCUMULATE[:1],
    (STEPS, "    steps = epochs * math.ceil(len(loader) / per_step)\n"),
    ("    order = ", "    per_step = config.gradient_accumulation_steps\n    order = "),
    ("Accelerator(dataloader_config", "Accelerator(gradient_accumulation_steps=per_step, dataloader_config"),
    ACCUMULATE[2],
    (
        FORWARD.replace("batch.to(device)", "batch") + BACKWARD_OF_ACCELERATE,
        f"""            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss{SHARES})
            if not accelerator.sync_gradients:
                continue  # the step goes on with the next batch
""",
    ),
)
CONSTANT: Pieces = ((FALLING, "lambda step: 1.0"),)
TWO: dict[str, Any] = {"gradient_accumulation_steps": 2}
THREE: dict[str, Any] = {"gradient_accumulation_steps": 3}
FOUR: dict[str, Any] = {"gradient_accumulation_steps": 4}


def instead(there: str, new: str) -> Pieces:
    """An edit that puts something else in a line's place."""
    return ((there, new),)


def after(there: str, new: str) -> Pieces:
    """An edit that adds lines after an existing one."""
    return ((there, there + new),)


def before(there: str, new: str) -> Pieces:
    """An edit that adds lines before an existing one."""
    return ((there, new + there),)


def changed(there: str, right: str, wrong: str) -> Pieces:
    """An edit that replaces a part of one line."""
    return ((there, there.replace(right, wrong)),)
