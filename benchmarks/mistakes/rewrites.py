"""Right rewrites of the full loop, as its readers make them: each must be identical with `Trainer`."""

from __future__ import annotations

from benchmarks.mistakes import line
from benchmarks.mistakes.mistake import Pieces

FORWARD = "loss = training_loss(training_model, batch, device, config)"
TRAIN_MODE = "            training_model.train()  # Train mode: evaluate() has switched dropout off.\n"
ZERO = "            optimizer.zero_grad()  # Zero: or the next gradients are added to these.\n"
BACKWARD = "            (scaler.scale(loss) if config.fp16 else loss).backward()\n"
STEP = "                optimizer.step()  # Step: update the weights.\n"
DEVICE = "            batch = batch.to(device)  # Device: the data goes to where the model is.\n"
GROUPS = """    parameters = parameter_groups(model, config)
    if config.optim == "adamw_torch_fused":
        settings = adamw_settings(config)  # learning rate, betas, epsilon
        optimizer = AdamW(parameters, **settings, fused=True)
    else:
        optimizer = make_optimizer(parameters, config)"""
EVAL_LOSS = "losses.append(gather(loss.repeat(len(logits))))"
JOIN = "    losses, correct = join(losses, eval_loader), join(correct, eval_loader)\n"
SEED_AGAIN = "so that dropout starts from here, whatever was drawn before.\n    set_seed(config.seed)\n"


def _forward(*lines: str) -> Pieces:
    return ((FORWARD, ("\n" + " " * 12).join(lines)),)


# By what each does, in words: its replacements in the full loop, one after the other.
REWRITES: dict[str, Pieces] = {
    "zero_grad() at the step's beginning": (
        (ZERO, ""),
        (TRAIN_MODE, "            if (number - 1) % per_step == 0: optimizer.zero_grad()\n" + TRAIN_MODE),
    ),
    "zero_grad() before the backward pass": ((ZERO, ""), (BACKWARD, "            optimizer.zero_grad()\n" + BACKWARD)),
    "model.zero_grad()": ((ZERO, "            model.zero_grad()\n"),),
    "gradients set to zero, not to None": ((ZERO, "            optimizer.zero_grad(set_to_none=False)\n"),),
    "the move to the device in a function": (
        (DEVICE, "            batch = on_device(batch, device)\n"),
        (
            "def train(",
            "def on_device(batch, device):\n    return {k: v.to(device) for k, v in batch.items()}\n\n\ndef train(",
        ),
    ),
    "ids and mask by position": _forward(
        'output = training_model(batch["input_ids"], batch["attention_mask"], labels=batch["labels"])',
        "loss, logits = output.loss, output.logits",
    ),
    "three named arguments": _forward(
        "ids, mask, labels = batch['input_ids'], batch['attention_mask'], batch['labels']",
        "output = training_model(input_ids=ids, attention_mask=mask, labels=labels)",
        "loss, logits = output.loss, output.logits",
    ),
    "the output as a tuple": _forward("loss, logits = training_model(**batch, return_dict=False)[:2]"),
    "by position, with a criterion of its own": _forward(
        'logits = training_model(batch["input_ids"], batch["attention_mask"]).logits',
        'loss = torch.nn.CrossEntropyLoss()(logits, batch["labels"])',
    ),
    "labels popped, a criterion of its own": _forward(
        'labels = batch.pop("labels")',
        "logits = training_model(**batch).logits",
        "loss = torch.nn.functional.cross_entropy(logits, labels)",
    ),
    "labels given, and a criterion of its own": _forward(
        "logits = training_model(**batch).logits",
        "loss = torch.nn.CrossEntropyLoss()(logits, batch['labels'])",
    ),
    "no gradient scaler: nothing of what only fp16 needs": (
        ("    scaler = torch.amp.GradScaler(device.type) if config.fp16 else None\n", "    scaler = None\n"),
        (BACKWARD, "            loss.backward()\n"),
        ("            if config.fp16:\n                scaler.unscale_(optimizer)\n", ""),
        (
            "            if config.fp16:\n                moved = scaled_step(scaler, optimizer, config)\n"
            "            else:\n" + STEP,
            "            optimizer.step()\n",
        ),
    ),
    "torch.autograd.backward(loss)": ((BACKWARD, "            torch.autograd.backward(loss)\n"),),
    "train() once per epoch: the evaluation comes at an epoch's end": (
        (TRAIN_MODE, ""),
        (
            "        for number, batch in enumerate(",
            "        training_model.train()\n        for number, batch in enumerate(",
        ),
    ),
    "accuracy from running counts": (
        ("    losses, correct = [], []\n", "    losses, correct, total = [], 0, 0\n"),
        (
            '        correct.append(gather(logits.argmax(dim=-1) == batch["labels"]))\n',
            '        correct += (logits.argmax(dim=-1) == batch["labels"]).sum().item()\n'
            '        total += len(batch["labels"])\n',
        ),
        (JOIN, "    losses = join(losses, eval_loader)\n"),
        ("correct.mean().item()", "correct / total"),
    ),
    "evaluation by position, with a criterion of its own": line.instead(
        "        loss, logits = forward(model, batch, device, config)  # logits (batch, classes)\n",
        "        logits = model(batch['input_ids'], batch['attention_mask']).logits\n"
        "        loss = torch.nn.functional.cross_entropy(logits, batch['labels'])\n",
    ),
    "inference_mode instead of no_grad": (("@torch.no_grad()", "@torch.inference_mode()"),),
    "no no_grad: graphs, but the same numbers": (
        ("@torch.no_grad()\n", ""),
        (EVAL_LOSS, EVAL_LOSS.replace("loss.repeat", "loss.detach().repeat")),
    ),
    "a print in the loop": ((ZERO, ZERO + "            print('step', state.step, float(grad_norm))\n"),),
    "torch.manual_seed alone before training: nothing draws from the other generators": (
        ("import math\n", "import math\nimport random\n"),
        ("import torch\n", "import numpy as np\nimport torch\n"),
        (SEED_AGAIN, "from here.\n    random.random(), np.random.rand()\n    torch.manual_seed(config.seed)\n"),
    ),
    "the fused AdamW over one group, which without decay is the same": line.instead(
        GROUPS,
        "    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)",
    ),
}
