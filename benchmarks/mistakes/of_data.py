"""Mistakes with what is trained, and with what: seeds, reviews, the model, order, batches, padding, masks."""

from __future__ import annotations

from benchmarks.mistakes import line
from benchmarks.mistakes.mistake import Compared, Mistake, Question, Rung

LOADED = "    train_dataset, eval_dataset, labels = load_data(config, tokenizer)\n"
BUILT = "    model = load_model(config, labels)\n"
FIRST_SEED = "    # Seed: the new head's weights are random, so fix the dice before they are thrown.\n"
NEGATIVE = (
    '    negative = [row for row, label in enumerate(train_dataset["labels"]) if label == 0]\n'
    "    train_dataset = train_dataset.select(negative)\n"
)

OF_DATA = (
    # Seed
    Mistake(
        "head_seed",
        "the model is built before the seed is set",
        "seed",
        whole=((FIRST_SEED + "    set_seed(config.seed)\n", ""),),
        compared=Compared("step 0: initial weights: pre_classifier.weight", "the head:"),
        question=Question(
            "the head is drawn from another seed, as in a run that has none",
            ((FIRST_SEED + "    set_seed(42)\n", "    set_seed(7)\n"),),
        ),
    ),
    Mistake(
        "no_second_seed",
        "no seed right before training",
        "seed",
        (("import DataCollatorWithPadding, set_seed\n", "import DataCollatorWithPadding\n"), (line.SEED, "")),
        compared=Compared("step 1: rng", "seed again right before training"),
        rung=Rung(
            2,
            "seed",
            "Trainer seeds before it trains; without, dropout draws from wherever loading the model has left off.",
        ),
    ),
    Mistake(
        "seed_in_every_step",
        "the seed is set again in every step",
        "seed",
        line.before(line.TRAIN, "            set_seed(config.seed)\n"),
        compared=Compared("step 1: rng", "the random state"),
        check="a seed is set",
    ),
    Mistake(
        "stray_draw",
        "a number is drawn after every step",
        "seed",
        line.after(line.ZERO, "            torch.rand(1)\n"),
        compared=Compared("step 2: rng", "a stray draw: one loop drew a random number that the other did not"),
    ),
    Mistake(
        "draw_at_evaluation",
        "a number is drawn at the evaluation",
        "seed",
        line.after(line.EVAL, "        torch.rand(1)\n"),
        compared=Compared("step 9: rng", "a stray draw: one loop drew a random number more around the evaluation"),
    ),
    # Data
    Mistake(
        "other_slice",
        "another slice",
        "data",
        whole=((LOADED, LOADED.replace("config,", "config.model_copy(update={'slice_seed': 1}),")),),
        compared=Compared("step 1: batch", "the slice: "),
    ),
    Mistake(
        "halved_max_length",
        "reviews cut to half the length",
        "data",
        whole=((LOADED, LOADED.replace("config,", "config.model_copy(update={'max_length': 12}),")),),
        compared=Compared(
            "step 1: batch", "max_length: the same reviews, cut to 12 tokens by hand and to 24 in Trainer"
        ),
    ),
    Mistake(
        "labels_flipped",
        "labels flipped",
        "data",
        line.before(line.FORWARD, '            batch["labels"] = 1 - batch["labels"]\n'),
        compared=Compared("step 1: batch", "the labels: the same reviews with other labels; every 0 is a 1"),
        check="the labels are not those of the batch's reviews",
        items=("collator", "loss"),
    ),
    Mistake(
        "labels_of_others",
        "the labels of a batch in another order than its reviews",
        "data",
        line.before(line.FORWARD, '            batch["labels"] = batch["labels"].flip(0)\n'),
        compared=Compared("step 1: batch", "the labels: the same reviews with other labels; ["),
        check="the labels are not those of the batch's reviews",
        items=("collator", "loss"),
    ),
    # Shuffle
    Mistake(
        "not_shuffled",
        "the training set is not shuffled",
        "shuffle",
        line.changed(line.SAMPLED, "sampler=shuffle, ", ""),
        compared=Compared("step 1: batch", "they come as they lie, not shuffled"),
        check="not shuffled",
        source="google-research/bert #324, super-gradients #416",
    ),
    Mistake(
        "same_order",
        "every epoch has the same order",
        "shuffle",
        line.changed(line.ORDER, " + epoch", ""),
        compared=Compared(
            "step 9: batch",
            "the order differs from this epoch on: its generator was seeded with 42; seed it in every epoch",
        ),
        check="shuffle anew in every epoch",
        source="pytorch #31771, transformers #4398",
        question=Question(
            "every epoch has the same order", (("order.manual_seed(42 + epoch)", "order.manual_seed(42)"),)
        ),
    ),
    Mistake(
        "one_class",
        "the first half of a set that is sorted by label: one class only",
        "data",
        line.after(
            line.SEED, '    train_dataset = train_dataset.sort("labels").select(range(len(train_dataset) // 2))\n'
        ),
        compared=Compared(
            "step 1: batch", "30 of the 61 reviews of the training slice are drawn", ("the schedule: ", "the length: ")
        ),
        check="does not come to all reviews",
        items=("batch",),
        source='split="train[:2000]" of IMDB, in many tutorials',
        question=Question(
            "the slice is taken of the sorted set: all its reviews are of one class", ((LOADED, LOADED + NEGATIVE),)
        ),
    ),
    Mistake(
        "shuffle_true",
        "`shuffle=True`: the order is drawn from torch's global random state",
        "shuffle",
        (
            ("from torch.utils.data import DataLoader, RandomSampler\n", "from torch.utils.data import DataLoader\n"),
            (
                "    order = torch.Generator()  # its own, or dropout's draws would change the order\n"
                f"    shuffle = {line.SAMPLER}\n",
                "",
            ),
            ("sampler=shuffle", "shuffle=True"),
            (line.ORDER, ""),
        ),
        compared=Compared("step 1: batch", "as shuffle=True does"),
        rung=Rung(
            1,
            "shuffle",
            "Trainer's order has a generator of its own, seeded for each epoch; shuffle=True draws from dropout's.",
        ),
    ),
    Mistake(
        "loader_generator",
        "`shuffle=True, generator=g`: the loader draws from it first",
        "shuffle",
        (("sampler=shuffle", "shuffle=True, generator=order"),),
        compared=Compared(
            "step 1: batch", "the loader was given the sampler's generator, too, and draws from it first"
        ),
    ),
    Mistake(
        "two_generators",
        "a generator for the loader besides the sampler's",
        "shuffle",
        (("sampler=shuffle", "sampler=shuffle, generator=torch.Generator()"),),
        compared=Compared("step 1: rng", "the loader's generator"),
    ),
    Mistake(
        "never_reseeded",
        "the sampler is seeded once and runs on",
        "shuffle",
        ((line.ORDER, ""), (line.BEGIN, line.BEGIN + "    order.manual_seed(config.seed)\n")),
        compared=Compared("step 9: batch", "the order differs from this epoch on"),
    ),
    Mistake(
        "with_replacement",
        "reviews are drawn with replacement",
        "shuffle",
        line.changed(line.SAMPLER, "generator", "replacement=True, generator"),
        compared=Compared("step 1: batch", "draw without replacement"),
        check="with replacement",
    ),
    # Batch
    Mistake(
        "batch_of_16",
        "batches of 16",
        "batch",
        line.changed(line.SAMPLED, "sizes[0]", "16"),
        compared=Compared("step 1: batch", "batch size 16 by hand, 8 in Trainer"),
        check="not of per_device_train_batch_size",
        question=Question(
            "batches are twice as large, and there are half as many steps",
            (("DataLoader(train_dataset, 8, ", "DataLoader(train_dataset, 16, "),),
        ),
    ),
    Mistake(
        "last_batch_dropped",
        "the epoch's last batch, which is not full, is left out",
        "batch",
        line.changed(line.SAMPLED, "collate_fn", "drop_last=True, collate_fn"),
        compared=Compared("step 8: batch", "what happens to a smaller last batch"),
        check="is left out (drop_last)",
        setting=line.CONSTANT,
        dials={"lr_scheduler_type": "constant"},
    ),
    Mistake(
        "batch_skipped",
        "one batch of every epoch is left out",
        "batch",
        line.changed(line.FOR, "in loader:", "in [each for number, each in enumerate(loader) if number != 2]:"),
        compared=Compared("step 3: batch", "the batches part in the middle of an epoch", ("the length: ",)),
        check="an epoch does not come to all reviews",
    ),
    Mistake(
        "batch_reversed",
        "the reviews of a batch in another order",
        "batch",
        line.before(
            line.FORWARD, "            for values in batch.values():\n                values.copy_(values.flip(0))\n"
        ),
        compared=Compared("step 1: batch", "the order within the batch"),
    ),
    Mistake(
        "one_epoch",
        "an epoch less, and the learning rate falls as if there were all",
        "epoch",
        line.changed(line.EPOCHS, "epochs", "epochs - 1"),
        compared=Compared("step 9: number of steps", "the length: 8 steps by hand, 16 in Trainer"),
        check="number of epochs",
        items=("batch",),
        question=Question(
            "one pass over the reviews, and the learning rate falls as if there were two",
            (("    for epoch in range(2):", "    for epoch in range(1):"),),
        ),
    ),
    Mistake(
        "one_step_short",
        "the loop stops one step early",
        "epoch",
        whole=(("            if cut_short and state.ends:\n", "            if state.step == max_steps - 1:\n"),),
        compared=Compared("step 16: number of steps", "the length: 15 steps by hand, 16 in Trainer"),
        dials={"eval_strategy": "no", "logging_strategy": "no"},
    ),
    # Collator
    Mistake(
        "padded_to_one_length",
        "every batch is padded to one length",
        "collator",
        (
            (
                f"{line.PAD}  # to the batch's longest review",
                'DataCollatorWithPadding(tokenizer, "max_length", config.max_length)',
            ),
        ),
        compared=Compared("step 1: batch", "the collator: the same tokens were padded to another length"),
        check="padded beyond its longest review",
        source="rasbt/LLMs-from-scratch, chapter 6: 2.46 minutes against 0.28",
        question=Question(
            "every review is padded to the greatest length that a review may have",
            ((line.PAD, 'DataCollatorWithPadding(tokenizer, padding="max_length", max_length=config.max_length)'),),
            asked=True,
        ),
    ),
    Mistake(
        "padded_left",
        "padding on the left",
        "collator",
        ((f"    pad = {line.PAD}", f'    tokenizer.padding_side = "left"\n    pad = {line.PAD}'),),
        compared=Compared("step 1: batch", "the collator: the same reviews, padded otherwise"),
        check="the padding is not at the end of the reviews",
        items=("collator", "evaluate"),
    ),
    Mistake(
        "cut_to_shortest",
        "every review is cut to the batch's shortest, as `zip` does",
        "collator",
        line.before(
            line.FORWARD,
            "            shortest = int(batch['attention_mask'].sum(1).min())\n"
            "            for name in ('input_ids', 'attention_mask'):\n"
            "                batch[name] = batch[name][:, :shortest]\n",
        ),
        compared=Compared("step 1: batch", "they are cut"),
        check="reviews are cut",
    ),
    # Masks
    Mistake(
        "no_mask",
        "the attention mask is not handed to the model",
        "forward",
        ((line.FORWARD, '            loss = model(batch["input_ids"], labels=batch["labels"]).loss\n'),),
        compared=Compared("step 1: batch", "the attention mask: the model is given none"),
        check="not handed to the model",
        source="AES-NPCR #7 (2026)",
        question=Question(
            "the attention mask stays behind, and padding counts as words",
            (
                (
                    "            loss = model(**batch).loss\n",
                    '            loss = model(input_ids=batch["input_ids"], labels=batch["labels"]).loss\n',
                ),
            ),
        ),
    ),
    Mistake(
        "mask_of_ones",
        "the attention mask is all ones",
        "forward",
        line.before(line.FORWARD, '            batch["attention_mask"].fill_(1)\n'),
        compared=Compared("step 1: batch", "the attention mask: the same tokens with another mask"),
        check="all ones",
        source="bert_nli PR #3",
    ),
    Mistake(
        "mask_inverted",
        "the attention mask is inverted",
        "forward",
        line.before(line.FORWARD, '            batch["attention_mask"] = 1 - batch["attention_mask"]\n'),
        compared=Compared("step 1: batch", "the attention mask: the same tokens with another mask"),
        check="inverted",
        source='nyu-mll/jiant PR #465 ("critical bug")',
    ),
    # Model
    Mistake(
        "random_body",
        "the body is as random as the head",
        "model",
        whole=((BUILT, BUILT + "    model = type(model)(model.config)\n"),),
        compared=Compared("step 0: initial weights", "the body:"),
        question=Question(
            "the body is as random as the head", ((BUILT, BUILT + "    model = type(model)(model.config)\n"),)
        ),
    ),
    Mistake(
        "frozen_body",
        "the body frozen",
        "model",
        line.after(line.PLACED, "    model.base_model.requires_grad_(False)\n"),
        compared=Compared("step 1: grad_norm", "frozen weights: "),
        check="the backward pass leaves other gradients than the loss has",
        items=("backward",),
    ),
    Mistake(
        "frozen_embeddings",
        "embeddings frozen",
        "model",
        line.after(line.PLACED, "    model.distilbert.embeddings.requires_grad_(False)\n"),
        compared=Compared("step 1: grad_norm", "frozen weights: "),
        check="the backward pass leaves other gradients than the loss has",
        items=("backward",),
    ),
    Mistake(
        "not_frozen",
        "`freeze_body` asks for a frozen body, and it learns",
        "model",
        whole=(("        model.base_model.requires_grad_(False)\n", "        pass\n"),),
        compared=Compared("step 1: grad_norm", "learn by hand, and must not (freeze_body)"),
        dials={"freeze_body": True},
    ),
    Mistake(
        "parts_called",
        "the body and the head called one by one",
        "model",
        whole=(
            (
                "            loss = training_loss(training_model, batch, device, config)\n",
                '            hidden = model.distilbert(batch["input_ids"], batch["attention_mask"])[0][:, 0]\n'
                "            hidden = model.dropout(torch.relu(model.pre_classifier(hidden)))\n"
                "            logits = model.classifier(hidden)\n"
                '            loss = torch.nn.functional.cross_entropy(logits, batch["labels"])\n',
            ),
        ),
        compared=Compared("step 1: batch", "your loop never calls the model that it was given as a whole"),
    ),
    # Device
    Mistake(
        "not_moved",
        "neither model nor batch is moved",
        "device",
        ((line.PLACED, ""), (line.FORWARD, line.FORWARD.replace(".to(device)", ""))),
        question=Question(
            "neither model nor batch is moved; without a GPU they are in one memory anyway",
            ((line.PLACED, ""), ("            batch = batch.to(device)", "            pass")),
        ),
    ),
)
