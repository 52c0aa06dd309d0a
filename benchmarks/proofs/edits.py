"""Edits of the manual page as its readers make them: right rewrites, which must be identical, and mistakes.

Each replaces pieces of `manual_loop/train.py`, in the order given; the page itself is never changed. `make
edits-table` runs all of them and writes docs/edits.md: the verdict, the first difference and the cause of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from shared.running.page import Page, package_page

ACCUMULATE = {"gradient_accumulation_steps": 2}
IDENTICAL = "identical"

FORWARD = "loss = training_loss(training_model, batch, device, config)"
TRAIN_MODE = "            training_model.train()  # Train mode: dropout on; the evaluation put it off.\n"
LOSS = "loss = loss / batches_of_step(number, train_loader, per_step)"
CLIP = """limit = config.max_grad_norm or math.inf
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)"""
ZERO = "            optimizer.zero_grad()  # Zero: the next gradients would be added to these.\n"
BACKWARD = "            (scaler.scale(loss) if config.fp16 else loss).backward()\n"
STEP = "                optimizer.step()  # Step: move the weights.\n"
SCHEDULE = "                scheduler.step()  # Schedule step: the learning rate of the next step.\n"
LINEAR = "        scheduler = LambdaLR(optimizer, lambda step: (max_steps - step) / max_steps)\n"
PARAMETERS = "    parameters = parameter_groups(model, config)\n"
GROUPS = """    parameters = parameter_groups(model, config)
    if config.optim == "adamw_torch_fused":
        settings = adamw_settings(config)  # learning rate, betas, epsilon
        optimizer = AdamW(parameters, **settings, fused=True)
    else:
        optimizer = make_optimizer(parameters, config)"""
LOADER = "DataLoader(train_dataset, sizes[0], sampler=sampler, **options)"
EVAL_LOADER = "DataLoader(eval_dataset, sizes[1], sampler=eval_sampler, **options)"
DATA = "    train_dataset, eval_dataset, labels = load_data(config, tokenizer)\n"
SEED_AGAIN = "so that dropout starts from here, whatever was drawn before.\n    set_seed(config.seed)\n"
DEVICE = "            batch = batch.to(device)  # Device: the data goes to where the model is.\n"
PLACED = "    model.to(device)\n"
EVAL_LOSS = "losses.append(gather(loss.repeat(len(logits))))"
JOIN = "    losses, right = join(losses, eval_loader), join(right, eval_loader)\n"


class Edit(NamedTuple):
    """One edit.

    Attributes:
        what: in words.
        pieces: what is replaced by what, one after the other.
        quantity: what must differ first; `identical`: nothing may.
        cause: what the likely cause must contain; for a mistake that stops the run, what the error line must.
        dials: on top of the `tiny` preset, under which every dial acts.
        also: what the list of other findings must contain, each once.
        stops: whether the page cannot run to its end.
    """

    what: str
    pieces: tuple[tuple[str, str], ...]
    quantity: str = IDENTICAL
    cause: str = ""
    dials: Mapping[str, Any] = MappingProxyType({})
    also: tuple[str, ...] = ()
    stops: bool = False


def _forward(*lines: str) -> tuple[str, str]:
    return FORWARD, ("\n" + " " * 12).join(lines)


EDITS: dict[str, Edit] = {
    # Right, written another way.
    "zero_top": Edit(
        "zero_grad() at the step's beginning",
        (
            (ZERO, ""),
            (TRAIN_MODE, "            if (number - 1) % per_step == 0: optimizer.zero_grad()\n" + TRAIN_MODE),
        ),
    ),
    "zero_before_backward": Edit(
        "zero_grad() before the backward pass",
        ((ZERO, ""), (BACKWARD, "            optimizer.zero_grad()\n" + BACKWARD)),
    ),
    "model_zero_grad": Edit("model.zero_grad()", ((ZERO, "            model.zero_grad()\n"),)),
    "zero_not_none": Edit(
        "gradients set to zero, not to None", ((ZERO, "            optimizer.zero_grad(set_to_none=False)\n"),)
    ),
    "to_helper": Edit(
        "the move to the device in a function",
        (
            (DEVICE, "            batch = on_device(batch, device)\n"),
            (
                "def train(",
                "def on_device(batch, device):\n    return {k: v.to(device) for k, v in batch.items()}\n\n\n"
                "def train(",
            ),
        ),
    ),
    "positional": Edit(
        "ids and mask by position",
        (
            _forward(
                'output = training_model(batch["input_ids"], batch["attention_mask"], labels=batch["labels"])',
                "loss, logits = output.loss, output.logits",
            ),
        ),
    ),
    "kwargs_three": Edit(
        "three named arguments",
        (
            _forward(
                "ids, mask, labels = batch['input_ids'], batch['attention_mask'], batch['labels']",
                "output = training_model(input_ids=ids, attention_mask=mask, labels=labels)",
                "loss, logits = output.loss, output.logits",
            ),
        ),
    ),
    "return_tuple": Edit(
        "the output as a tuple", (_forward("loss, logits = training_model(**batch, return_dict=False)[:2]"),)
    ),
    "positional_ce": Edit(
        "by position, with a criterion of its own",
        (
            _forward(
                'logits = training_model(batch["input_ids"], batch["attention_mask"]).logits',
                'loss = torch.nn.CrossEntropyLoss()(logits, batch["labels"])',
            ),
        ),
    ),
    "kw_ce": Edit(
        "labels popped, a criterion of its own",
        (
            _forward(
                'labels = batch.pop("labels")',
                "logits = training_model(**batch).logits",
                "loss = torch.nn.functional.cross_entropy(logits, labels)",
            ),
        ),
    ),
    "ce_with_labels": Edit(
        "labels given, and a criterion of its own",
        (
            _forward(
                "logits = training_model(**batch).logits",
                "loss = torch.nn.CrossEntropyLoss()(logits, batch['labels'])",
            ),
        ),
    ),
    "no_scaler": Edit(
        "no gradient scaler: nothing of what only fp16 needs",
        (
            ("    scaler = torch.amp.GradScaler(device.type) if config.fp16 else None\n", "    scaler = None\n"),
            (BACKWARD, "            loss.backward()\n"),
            ("            if config.fp16:\n                scaler.unscale_(optimizer)\n", ""),
            (
                "            if config.fp16:\n                moved = scaled_step(scaler, optimizer, config)\n"
                "            else:\n" + STEP,
                "            optimizer.step()\n",
            ),
        ),
    ),
    "autograd_backward": Edit(
        "torch.autograd.backward(loss)", ((BACKWARD, "            torch.autograd.backward(loss)\n"),)
    ),
    "train_mode_per_epoch": Edit(
        "train() once per epoch: the evaluation comes at an epoch's end",
        (
            (TRAIN_MODE, ""),
            (
                "        for number, batch in enumerate(",
                "        training_model.train()\n        for number, batch in enumerate(",
            ),
        ),
    ),
    "accuracy_by_counting": Edit(
        "accuracy from running counts",
        (
            ("    losses, right = [], []\n", "    losses, correct, total = [], 0, 0\n"),
            (
                '        right.append(gather(logits.argmax(dim=-1) == batch["labels"]))\n',
                '        correct += (logits.argmax(dim=-1) == batch["labels"]).sum().item()\n'
                '        total += len(batch["labels"])\n',
            ),
            (JOIN, "    losses = join(losses, eval_loader)\n"),
            ("right.mean().item()", "correct / total"),
        ),
    ),
    "eval_positional": Edit(
        "evaluation by position, with a criterion of its own",
        (
            (
                "        loss, logits = forward(model, batch, device, config)  # logits (batch, classes)\n",
                "        logits = model(batch['input_ids'], batch['attention_mask']).logits\n"
                "        loss = torch.nn.functional.cross_entropy(logits, batch['labels'])\n",
            ),
        ),
    ),
    "eval_inference_mode": Edit(
        "inference_mode instead of no_grad", (("@torch.no_grad()", "@torch.inference_mode()"),)
    ),
    "eval_builds_graphs": Edit(
        "no no_grad: graphs, but the same numbers",
        (
            ("@torch.no_grad()\n", ""),
            (EVAL_LOSS, EVAL_LOSS.replace("loss.repeat", "loss.detach().repeat")),
        ),
    ),
    "print_in_loop": Edit(
        "a print in the loop", ((ZERO, ZERO + "            print('step', state.step, float(grad_norm))\n"),)
    ),
    "only_torch_seeded": Edit(
        "torch.manual_seed alone before training: nothing draws from the other generators",
        (
            ("import math\n", "import math\nimport random\n"),
            ("import torch\n", "import numpy as np\nimport torch\n"),
            (SEED_AGAIN, "from here.\n    random.random(), np.random.rand()\n    torch.manual_seed(config.seed)\n"),
        ),
    ),
    # Mistakes that stop the run, and are the page's.
    "clip_commented_out": Edit(
        "the clip commented out, its value still used",
        ((CLIP, "# the clip"),),
        cause="NameError: name 'grad_norm' is not defined",
        stops=True,
    ),
    "mistyped": Edit(
        "a name mistyped",
        ((ZERO, "            optimiser.zero_grad()\n"),),
        cause="NameError: name 'optimiser' is not defined",
        stops=True,
    ),
    "syntax": Edit(
        "a bracket not closed",
        ((ZERO, "            optimizer.zero_grad(\n"),),
        cause="SyntaxError: '(' was never closed",
        stops=True,
    ),
    "eval_no_no_grad": Edit(
        "no no_grad, and numpy of a tensor with a graph",
        (("@torch.no_grad()\n", ""),),
        cause="RuntimeError: Can't call numpy() on Tensor that requires grad",
        stops=True,
    ),
    "no_return": Edit(
        "the evaluation returns nothing",
        (('    return {"eval_loss"', '    metrics = {"eval_loss"'),),
        cause="TypeError: ",
        stops=True,
    ),
    # Mistakes.
    "clip_left_out": Edit(
        "no clip",
        ((CLIP, "grad_norm = torch.tensor(0.0)"),),
        "grad_norm",
        "the clip: by hand the gradients reach the optimizer at norm",
    ),
    "norm_without_clip": Edit(
        "the norm taken, nothing clipped",
        ((CLIP, "grad_norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])"),),
        "grad_norm",
        "the clip: by hand the gradients reach the optimizer at norm",
    ),
    "clip_by_value": Edit(
        "clip by value",
        (
            (
                CLIP,
                "torch.nn.utils.clip_grad_value_(model.parameters(), 0.005)\n"
                "            grad_norm = torch.tensor(0.0)",
            ),
        ),
        "grad_norm",
        "some tensors are scaled more than others",
    ),
    "clip_after_step": Edit(
        "clip after the step",
        ((f"            {CLIP}\n", ""), (STEP, f"{STEP}            {CLIP}\n")),
        "grad_norm",
        "the clip: by hand the gradients reach the optimizer at norm",
    ),
    "clip_before_backward": Edit(
        "clip before the backward pass",
        ((CLIP, "grad_norm = torch.tensor(0.0)"), (BACKWARD, f"            {CLIP}\n{BACKWARD}")),
        "grad_norm",
        "the clip: by hand the gradients reach the optimizer at norm",
    ),
    "clip_every_batch": Edit(
        "clip after every small batch, not once per step",
        ((CLIP, "grad_norm = torch.tensor(0.0)"), (BACKWARD, f"{BACKWARD}            {CLIP}\n")),
        "grad_norm",
        "the clip: gradients are scaled between two batches of one step",
        ACCUMULATE,
    ),
    "clip_other_limit": Edit(
        "clip at another limit",
        (("config.max_grad_norm or math.inf", "0.05"),),
        "grad_norm",
        "is scaled to 0.05",
    ),
    "own_clip_arithmetic": Edit(
        "a clip in arithmetic of its own, right but for the last digits",
        (
            (
                CLIP,
                "grad_norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])\n"
                "            for p in model.parameters():\n                p.grad /= grad_norm / config.max_grad_norm",
            ),
        ),
        "grad_norm",
        "the clip's arithmetic",
    ),
    "rate_doubled": Edit(
        "twice the learning rate",
        ((LINEAR, "        for g in optimizer.param_groups: g['lr'] = 2e-3\n" + LINEAR),),
        "learning_rate",
        "2 times Trainer's at every step",
    ),
    "rate_of_one_group": Edit(
        "another learning rate in one group",
        (
            (
                PARAMETERS,
                "    matrices = [p for p in model.parameters() if p.ndim > 1]\n"
                "    others = [p for p in model.parameters() if p.ndim == 1]\n"
                "    parameters = [{'params': matrices}, {'params': others, 'lr': 2e-3}]\n",
            ),
        ),
        "forward_losses",
        "the groups' learning rates",
    ),
    "evaluation_in_float64": Edit(
        "the evaluation loss summed in Python's floats",
        (
            (EVAL_LOSS, "losses.append(loss.item() * len(logits))"),
            (JOIN, "    right = join(right, eval_loader)\n"),
            ("losses.mean().item()", "sum(losses) / len(right)"),
        ),
        "eval_loss",
        "equal but for the last digits",
    ),
    "shuffle_true": Edit(
        "DataLoader(shuffle=True)",
        ((LOADER, LOADER.replace("sampler=sampler", "shuffle=True")),),
        "batch",
        "as shuffle=True does",
    ),
    "loader_generator": Edit(
        "DataLoader(shuffle=True, generator=g)",
        ((LOADER, LOADER.replace("sampler=sampler", "shuffle=True, generator=order")),),
        "batch",
        "the loader was given the sampler's generator, too, and draws from it first",
    ),
    "generator_of_the_loader": Edit(
        "a generator for the loader besides the sampler's",
        ((LOADER, LOADER.replace("**options", "generator=torch.Generator(), **options")),),
        "rng",
        "the loader's generator",
    ),
    "not_shuffled": Edit(
        "the training set is not shuffled",
        (("RandomSampler(train_dataset, generator=order)", "torch.utils.data.SequentialSampler(train_dataset)"),),
        "batch",
        "they come as they lie, not shuffled",
    ),
    "batch_reversed": Edit(
        "the reviews of a batch in another order",
        ((DEVICE, "            batch = {k: v.flip(0).to(device) for k, v in batch.items()}\n"),),
        "batch",
        "the order within the batch",
    ),
    "labels_flipped": Edit(
        "labels flipped",
        ((DEVICE, DEVICE + "            batch['labels'] = 1 - batch['labels']\n"),),
        "batch",
        "the labels: the same reviews with other labels; every 0 is a 1",
    ),
    "no_mask": Edit(
        "no attention mask",
        (
            _forward(
                "output = training_model(batch['input_ids'], labels=batch['labels'])",
                "loss, logits = output.loss, output.logits",
            ),
        ),
        "batch",
        "the attention mask: the model is given none",
    ),
    "halved_max_length": Edit(
        "reviews cut to half the length",
        (
            (
                DATA,
                DATA.replace("config,", "config.model_copy(update={'max_length': 12}),"),
            ),
        ),
        "batch",
        "max_length: the same reviews, cut to 12 tokens by hand and to 24 in Trainer",
    ),
    "other_slice": Edit(
        "another slice",
        (
            (
                DATA,
                DATA.replace("config,", "config.model_copy(update={'slice_seed': 1}),"),
            ),
        ),
        "batch",
        "the slice: ",
    ),
    "batch16": Edit(
        "batches of 16",
        ((LOADER, LOADER.replace("sizes[0]", "16")),),
        "batch",
        "batch size 16 by hand, 8 in Trainer",
    ),
    "adamw_default": Edit(
        "AdamW(model.parameters(), lr=...), as every tutorial has it",
        ((GROUPS, "    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)"),),
        "forward_losses",
        "weight_decay 0.01 by hand, 0.0 in Trainer",
        # At a smaller rate it depends on torch's rounding whether losses or gradients differ first.
        {"learning_rate": 0.01},
    ),
    "adamw_no_decay": Edit(
        "the plain AdamW without decay",
        ((GROUPS, "    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0)"),),
        "grad_norm",
        "fused None by hand, True in Trainer",
    ),
    "adamw_fused_one_group": Edit(
        "the fused AdamW over one group, which without decay is the same",
        (
            (
                GROUPS,
                "    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, "
                "fused=True)",
            ),
        ),
    ),
    "head_not_in_optimizer": Edit(
        "the head is in none of the optimizer's groups",
        (
            (
                GROUPS,
                "    optimizer = torch.optim.AdamW(model.base_model.parameters(), lr=config.learning_rate, "
                "weight_decay=0.0, fused=True)",
            ),
        ),
        "grad_norm",
        "are in none of its groups",
    ),
    "no_backward": Edit("no backward()", ((BACKWARD, ""),), "losses", "loss.backward() is not called"),
    "backward_twice": Edit(
        "backward() twice",
        ((BACKWARD, "            loss.backward(retain_graph=True)\n            loss.backward()\n"),),
        "losses",
        "loss.backward() is called 2 times",
    ),
    "scheduler_first": Edit(
        "the scheduler before the optimizer",
        ((STEP, "                pass\n"), (SCHEDULE, f"{SCHEDULE}            optimizer.step()\n")),
        "learning_rate",
        "call scheduler.step() after optimizer.step(), not before",
    ),
    "scheduler_every_batch": Edit(
        "the schedule moves after every small batch",
        (
            (SCHEDULE, "                pass\n"),
            (BACKWARD, f"{BACKWARD}            scheduler.step()\n"),
        ),
        "learning_rate",
        "by hand it moves 2 times per step",
        ACCUMULATE,
    ),
    "schedule_counts_batches": Edit(
        "the schedule's length in batches, not in steps",
        ((LINEAR, "        length = max_steps * per_step\n" + LINEAR.replace("max_steps", "length")),),
        "learning_rate",
        "2 times as slowly",
        ACCUMULATE,
    ),
    "four_steps_more": Edit(
        "four steps more than the epochs have",
        ((PARAMETERS, "    max_steps += 4\n" + PARAMETERS),),
        "learning_rate",
        "the total number of steps",
    ),
    "no_second_seed": Edit(
        "no seed right before training",
        ((SEED_AGAIN, "\n"),),
        "rng",
        "seed again right before training",
    ),
    "stray_draw": Edit(
        "a number drawn after every step",
        ((ZERO, ZERO + "            torch.rand(1)\n"),),
        "rng",
        "a stray draw:",
    ),
    "loss_summed": Edit(
        "the loss is the batch's sum",
        ((LOSS, f"{LOSS} * 8"),),
        "losses",
        "by hand 8 times Trainer's, the batch's 8 reviews: a sum, not a mean",
    ),
    "short_group_misdivided": Edit(
        "a short last group divided by the full number",
        ((LOSS, "loss = loss / config.gradient_accumulation_steps"),),
        "losses",
        "the size of a short last group",
        {"gradient_accumulation_steps": 3},
    ),
    "zero_inside_accumulation": Edit(
        "zero_grad() inside the accumulation",
        ((BACKWARD, "            optimizer.zero_grad()\n" + BACKWARD),),
        "grad_norm",
        "zero_grad() inside the accumulation",
        ACCUMULATE,
    ),
    "zero_once_per_epoch": Edit(
        "zero_grad() once per epoch",
        ((ZERO, "            if number == len(train_loader): optimizer.zero_grad()\n"),),
        "grad_norm",
        "zero_grad() is missing",
    ),
    "frozen_embeddings": Edit(
        "embeddings frozen",
        ((PLACED, PLACED + "    model.distilbert.embeddings.requires_grad_(False)\n"),),
        "grad_norm",
        "frozen weights: ",
    ),
    "frozen_body": Edit(
        "the body frozen",
        ((PLACED, PLACED + "    model.base_model.requires_grad_(False)\n"),),
        "grad_norm",
        "frozen weights: ",
    ),
    "detached": Edit(
        "the body's output detached",
        (
            (
                PLACED,
                PLACED + "    model.base_model.register_forward_hook("
                "lambda module, args, output: type(output)(output[0].detach()))\n",
            ),
        ),
        "grad_norm",
        "get none by hand; the loss does not reach them",
    ),
    "a_part_called": Edit(
        "the body and the head called one by one",
        (
            _forward(
                "hidden = training_model.distilbert(batch['input_ids'], batch['attention_mask'])[0][:, 0]",
                "hidden = training_model.dropout(torch.relu(training_model.pre_classifier(hidden)))",
                "logits = training_model.classifier(hidden)",
                "loss = torch.nn.functional.cross_entropy(logits, batch['labels'])",
            ),
        ),
        "initial weights",
        "the model: what is called first is a DistilBertModel by hand",
    ),
    "no_dropout": Edit(
        "dropout 0",
        ((PLACED, PLACED + "    for m in model.modules():\n        if isinstance(m, torch.nn.Dropout): m.p = 0.0\n"),),
        "rng",
        "dropout: the layers that are on drop 0 by hand",
    ),
    "autocast_by_hand": Edit(
        "autocast by hand only",
        (
            _forward(
                "with torch.autocast('cpu', torch.bfloat16):",
                "    output = training_model(**batch)",
                "loss, logits = output.loss, output.logits",
            ),
        ),
        "forward_losses",
        "autocast: the forward pass runs in bfloat16 by hand, in float32 in Trainer",
    ),
    "weights_in_bf16": Edit(
        "weights in bfloat16",
        (
            (
                "    model = load_model(config, labels)\n",
                "    model = load_model(config, labels).bfloat16()\n",
            ),
            (EVAL_LOSS, EVAL_LOSS.replace("loss.repeat", "loss.float().repeat")),
        ),
        "initial weights",
        "the weights' type: bfloat16 by hand, float32 in Trainer",
    ),
    "eval_drops_last": Edit(
        "the evaluation leaves out a last batch that is not full",
        ((EVAL_LOADER, EVAL_LOADER.replace("**options", "**{**options, 'drop_last': True}")),),
        "eval_forward_batch",
        "leave no smaller last batch out",
    ),
    "eval_other_batch_size": Edit(
        "another batch size in the evaluation",
        ((EVAL_LOADER, EVAL_LOADER.replace("sizes[1]", "4")),),
        "eval_forward_batch",
        "4 reviews at a time by hand, 8 in Trainer",
    ),
    "nothing_reported": Edit(
        "return []", (("    return state.log_history\n", "    return []\n"),), "eval_loss", "the loop returned nothing"
    ),
    "no_evaluation_reported": Edit(
        "no evaluation among what is returned",
        (
            (
                "    return state.log_history\n",
                "    return [line for line in state.log_history if 'eval_loss' not in line]\n",
            ),
        ),
        "eval_loss",
        "the loop returned no eval_loss",
    ),
    "three_mistakes": Edit(
        "no train mode, no clip and torch's decay at once",
        (
            (TRAIN_MODE, ""),
            (CLIP, "grad_norm = torch.tensor(0.0)"),
            (GROUPS, "    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)"),
        ),
        "mode",
        "model.train() was not called",
        also=("the optimizer: its settings differ", "the clip: by hand"),
    ),
}


def edited_page(edit: Edit) -> Page:
    """The manual page with the edit.

    Raises:
        ValueError: the page no longer holds one of the pieces exactly once.
    """
    page = package_page("manual")
    for right, wrong in edit.pieces:
        page = page.edited(right, wrong)
    return page
