"""Mistakes in what is trained, and on what: seeds, reviews, the model, order, batches, padding, masks."""

from __future__ import annotations

from benchmarks.mistakes import line
from benchmarks.mistakes.mistake import LadderStep, Mistake, Question, Verdict

LOADED = "    train_dataset, eval_dataset, labels = load_data(config, tokenizer)\n"
BUILT = "    model = load_model(config, labels)\n"
FIRST_SEED = "    # Seed: before the new head is initialized, because its weights are random.\n"
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
        compared=Verdict("step 0: initial weights: pre_classifier.weight", "model.head"),
        question=Question(
            ((FIRST_SEED + "    set_seed(42)\n", "    set_seed(7)\n"),),
            "another seed is set, so the new head gets other random weights",
        ),
    ),
    Mistake(
        "no_second_seed",
        "no seed right before training",
        "seed",
        (("import DataCollatorWithPadding, set_seed\n", "import DataCollatorWithPadding\n"), (line.SEED, "")),
        compared=Verdict("step 1: rng", "seed.state"),
        check="",
        step=LadderStep(
            2,
            "seed",
            "Trainer seeds again before training; otherwise dropout depends on what loading the model has drawn.",
        ),
    ),
    Mistake(
        "seed_in_every_step",
        "the seed is set again in every step",
        "seed",
        line.before(line.TRAIN, "            set_seed(config.seed)\n"),
        compared=Verdict("step 1: rng", "seed.again"),
    ),
    Mistake(
        "stray_draw",
        "a number is drawn after every step",
        "seed",
        line.after(line.ZERO, "            torch.rand(1)\n"),
        compared=Verdict("step 2: rng", "seed.stray"),
        check="",
    ),
    Mistake(
        "draw_at_evaluation",
        "a number is drawn at the evaluation",
        "seed",
        line.after(line.EVAL, "        torch.rand(1)\n"),
        compared=Verdict("step 9: rng", "seed.stray"),
        check="",
    ),
    # Data
    Mistake(
        "other_slice",
        "another subset",
        "data",
        whole=((LOADED, LOADED.replace("config,", "config.model_copy(update={'slice_seed': 1}),")),),
        compared=Verdict("step 1: batch", "batch.slice"),
    ),
    Mistake(
        "halved_max_length",
        "reviews cut to half the length",
        "data",
        whole=((LOADED, LOADED.replace("config,", "config.model_copy(update={'max_length': 12}),")),),
        compared=Verdict("step 1: batch", "batch.cut"),
    ),
    Mistake(
        "labels_flipped",
        "labels flipped",
        "data",
        line.before(line.FORWARD, '            batch["labels"] = 1 - batch["labels"]\n'),
        compared=Verdict("step 1: batch", "batch.labels"),
        check="collator.labels",
        items=("collator", "loss"),
    ),
    Mistake(
        "labels_of_others",
        "the labels of a batch in another order than its reviews",
        "data",
        line.before(line.FORWARD, '            batch["labels"] = batch["labels"].flip(0)\n'),
        compared=Verdict("step 1: batch", "batch.labels"),
        check="collator.labels",
        items=("collator", "loss"),
    ),
    # Shuffle
    Mistake(
        "not_shuffled",
        "the training set is not shuffled",
        "shuffle",
        line.changed(line.SAMPLED, "sampler=sampler, ", ""),
        compared=Verdict("step 1: batch", "shuffle.none"),
        source="google-research/bert #324, super-gradients #416",
    ),
    Mistake(
        "same_order",
        "every epoch has the same order",
        "shuffle",
        line.changed(line.ORDER, " + epoch", ""),
        compared=Verdict("step 9: batch", "shuffle.seed"),
        check="shuffle.same",
        source="pytorch #31771, transformers #4398",
        question=Question((("generator.manual_seed(42 + epoch)", "generator.manual_seed(42)"),)),
    ),
    Mistake(
        "one_class",
        "the first half of a set that is sorted by label: one class only",
        "data",
        line.after(
            line.SEED, '    train_dataset = train_dataset.sort("labels").select(range(len(train_dataset) // 2))\n'
        ),
        compared=Verdict("step 1: batch", "shuffle.subset", ("schedule.rate", "step.number")),
        check="batch.missing",
        items=("batch",),
        source='split="train[:2000]" of IMDB, in many tutorials',
        question=Question(
            ((LOADED, LOADED + NEGATIVE),),
            "only negative examples are kept, as if the subset came from the sorted dataset",
        ),
    ),
    Mistake(
        "shuffle_true",
        "`shuffle=True`: the order is drawn from torch's global random state",
        "shuffle",
        (
            ("from torch.utils.data import DataLoader, RandomSampler\n", "from torch.utils.data import DataLoader\n"),
            (
                "    generator = torch.Generator()  # only for the order; dropout uses the global one\n"
                f"    sampler = {line.SAMPLER}\n",
                "",
            ),
            ("sampler=sampler", "shuffle=True"),
            (line.ORDER, ""),
        ),
        compared=Verdict("step 1: batch", "shuffle.global_state"),
        check="",
        step=LadderStep(
            1,
            "shuffle",
            "Trainer's order has a generator of its own, seeded for each epoch; shuffle=True takes its numbers from "
            "dropout's.",
        ),
    ),
    Mistake(
        "loader_generator",
        "`shuffle=True, generator=g`: the loader draws from it first",
        "shuffle",
        (("sampler=sampler", "shuffle=True, generator=generator"),),
        compared=Verdict("step 1: batch", "shuffle.shared_generator"),
        check="",
    ),
    Mistake(
        "two_generators",
        "a second generator, for the loader",
        "shuffle",
        (("sampler=sampler", "sampler=sampler, generator=torch.Generator()"),),
        compared=Verdict("step 1: rng", "seed.loader"),
        check="",
    ),
    Mistake(
        "never_reseeded",
        "the sampler is seeded once, not in every epoch",
        "shuffle",
        ((line.ORDER, ""), (line.BEGIN, line.BEGIN + "    generator.manual_seed(config.seed)\n")),
        compared=Verdict("step 9: batch", "shuffle.seed"),
        check="",
    ),
    Mistake(
        "with_replacement",
        "reviews are drawn with replacement",
        "shuffle",
        line.changed(line.SAMPLER, "generator=", "replacement=True, generator="),
        compared=Verdict("step 1: batch", "shuffle.replacement"),
    ),
    # Batch
    Mistake(
        "batch_of_16",
        "batches of 16",
        "batch",
        line.changed(line.SAMPLED, "batch_size", "16"),
        compared=Verdict("step 1: batch", "batch.size"),
        question=Question(
            (("DataLoader(train_dataset, 8, ", "DataLoader(train_dataset, 16, "),),
            "batches are twice as large, and there are half as many steps",
        ),
    ),
    Mistake(
        "last_batch_dropped",
        "the epoch's last batch, which is not full, is left out",
        "batch",
        line.changed(line.SAMPLED, "collate_fn", "drop_last=True, collate_fn"),
        compared=Verdict("step 8: batch", "batch.size"),
        check="batch.last",
        setting=line.CONSTANT,
        settings={"lr_scheduler_type": "constant"},
    ),
    Mistake(
        "batch_skipped",
        "one batch of every epoch is left out",
        "batch",
        line.changed(line.FOR, "in loader:", "in [b for number, b in enumerate(loader) if number != 2]:"),
        compared=Verdict("step 3: batch", "shuffle.middle", ("step.number",)),
        check="batch.missing",
    ),
    Mistake(
        "batch_reversed",
        "the reviews of a batch in another order",
        "batch",
        line.before(
            line.FORWARD, "            for values in batch.values():\n                values.copy_(values.flip(0))\n"
        ),
        compared=Verdict("step 1: batch", "batch.order"),
        check="",
    ),
    Mistake(
        "one_epoch",
        "one epoch less, but the schedule of all epochs",
        "epoch",
        line.changed(line.EPOCHS, "epochs", "epochs - 1"),
        compared=Verdict("step 9: number of steps", "step.number"),
        check="batch.epochs",
        items=("batch",),
        question=Question(
            (("    for epoch in range(2):", "    for epoch in range(1):"),),
            "there is one epoch, and the learning rate falls as if there were two",
        ),
    ),
    Mistake(
        "one_step_short",
        "the loop stops one step early",
        "epoch",
        whole=(("            if cut_short and state.ends:\n", "            if state.step == max_steps - 1:\n"),),
        compared=Verdict("step 16: number of steps", "step.number"),
        settings={"eval_strategy": "no", "logging_strategy": "no"},
    ),
    # Collator
    Mistake(
        "padded_to_one_length",
        "every batch is padded to one length",
        "collator",
        line.instead(
            f"{line.PAD}  # pads to the batch's longest review",
            'DataCollatorWithPadding(tokenizer, "max_length", config.max_length)',
        ),
        compared=Verdict("step 1: batch", "collator.length"),
        source="rasbt/LLMs-from-scratch, chapter 6: 2.46 minutes against 0.28",
        question=Question(
            ((line.PAD, 'DataCollatorWithPadding(tokenizer, padding="max_length", max_length=config.max_length)'),),
            "every example is padded to max_length, so dropout draws for other shapes",
            asked=True,
        ),
    ),
    Mistake(
        "padded_left",
        "padding on the left",
        "collator",
        ((f"    collator = {line.PAD}", f'    tokenizer.padding_side = "left"\n    collator = {line.PAD}'),),
        compared=Verdict("step 1: batch", "collator.padding"),
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
        compared=Verdict("step 1: batch", "batch.cut"),
        check="collator.cut",
    ),
    # Masks
    Mistake(
        "no_mask",
        "the attention mask is not handed to the model",
        "forward",
        ((line.FORWARD, '            loss = model(batch["input_ids"], labels=batch["labels"]).loss\n'),),
        compared=Verdict("step 1: batch", "forward.no_mask"),
        source="AES-NPCR #7 (2026)",
        question=Question(
            line.instead(
                "            loss = model(**batch).loss\n",
                '            loss = model(input_ids=batch["input_ids"], labels=batch["labels"]).loss\n',
            ),
            "the attention mask is left out, so padding counts as words",
        ),
    ),
    Mistake(
        "mask_of_ones",
        "the attention mask is all ones",
        "forward",
        line.before(line.FORWARD, '            batch["attention_mask"].fill_(1)\n'),
        compared=Verdict("step 1: batch", "forward.mask"),
        source="bert_nli PR #3",
    ),
    Mistake(
        "mask_inverted",
        "the attention mask is inverted",
        "forward",
        line.before(line.FORWARD, '            batch["attention_mask"] = 1 - batch["attention_mask"]\n'),
        compared=Verdict("step 1: batch", "forward.mask"),
        source='nyu-mll/jiant PR #465 ("critical bug")',
    ),
    # Model
    Mistake(
        "random_body",
        "the pretrained weights are replaced by random ones",
        "model",
        whole=((BUILT, BUILT + "    model = type(model)(model.config)\n"),),
        compared=Verdict("step 0: initial weights", "model.body"),
        question=Question(((BUILT, BUILT + "    model = type(model)(model.config)\n"),)),
    ),
    Mistake(
        "frozen_body",
        "the body frozen",
        "model",
        line.after(line.PLACED, "    model.base_model.requires_grad_(False)\n"),
        compared=Verdict("step 1: grad_norm", "model.frozen"),
        check="backward.other",
        items=("backward",),
    ),
    Mistake(
        "frozen_embeddings",
        "embeddings frozen",
        "model",
        line.after(line.PLACED, "    model.distilbert.embeddings.requires_grad_(False)\n"),
        compared=Verdict("step 1: grad_norm", "model.frozen"),
        check="backward.other",
        items=("backward",),
    ),
    Mistake(
        "not_frozen",
        "`freeze_body` asks for a frozen body, and it learns",
        "model",
        whole=(("        model.base_model.requires_grad_(False)\n", "        pass\n"),),
        compared=Verdict("step 1: grad_norm", "model.not_frozen"),
        settings={"freeze_body": True},
    ),
    Mistake(
        "parts_called",
        "the body and the head called one by one",
        "model",
        whole=line.instead(
            "            loss = training_loss(training_model, batch, device, config)\n",
            '            hidden = model.distilbert(batch["input_ids"], batch["attention_mask"])[0][:, 0]\n'
            "            hidden = model.dropout(torch.relu(model.pre_classifier(hidden)))\n"
            "            logits = model.classifier(hidden)\n"
            '            loss = torch.nn.functional.cross_entropy(logits, batch["labels"])\n',
        ),
        compared=Verdict("step 1: batch", "forward.part"),
    ),
    # Device
    Mistake(
        "not_moved",
        "neither model nor batch is moved",
        "device",
        ((line.PLACED, ""), (line.FORWARD, line.FORWARD.replace(".to(device)", ""))),
        question=Question(
            ((line.PLACED, ""), ("            batch = batch.to(device)", "            pass")),
            "neither model nor batch is moved; without a GPU both are in the same memory anyway",
        ),
    ),
)
