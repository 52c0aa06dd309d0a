"""What a training does, phase by phase: one row for all who show a phase, ask for it, or judge a loop by it."""

from __future__ import annotations

from typing import NamedTuple


class Phase(NamedTuple):
    """One thing that a training does.

    Attributes:
        name: as the pages' comments call it.
        does: what it is, in a few words.
        bought: what buys it from `Trainer`: an argument or a call. Or, where neither page does it for the sake of
            training, why it stands there.
        why: why it is there, in a sentence or two; empty where it is not part of the training.
        hint: of a phase that a loop is judged by: a question that leads to the line, and no answer.
        gap: what must stand in its gap of the loop that is to be written: enough to know what, and no code.
    """

    name: str
    does: str
    bought: str
    why: str = ""
    hint: str = ""
    gap: str = ""


PHASES = (
    Phase("page", "what the page is", "not part of the job: the page's own introduction"),
    Phase("imports", "imports", "not part of the job: what the lines below are made of"),
    Phase("function", "the function", "not part of the job: the same signature on both pages"),
    Phase(
        "seed",
        "seed every random number generator",
        "set_seed(); TrainingArguments(seed=)",
        "The new head's weights, dropout and the order of the reviews are drawn at random. From the same seed "
        "the same numbers are drawn, so that a run can be repeated, and two loops can be compared at all.",
        hint="How often does your loop set a seed, and what does dropout draw after each time?",
        gap="every random number generator starts from config.seed: once, before anything is drawn.",
    ),
    Phase(
        "data",
        "load, shuffle, select, tokenize",
        "Trainer(train_dataset=, eval_dataset=)",
        "IMDB is sorted by label: its first 12,500 reviews are all negative. So the set is shuffled before a slice is "
        "taken of it. Then words become numbers, the same ones that the model was pretrained with.",
    ),
    Phase(
        "model",
        "the pretrained body and a new head",
        "Trainer(model=)",
        "The body has read a great deal of text already; only the head, two small layers, is new and random. That is "
        "why a few hundred reviews are enough.",
    ),
    Phase(
        "determinism",
        "deterministic algorithms only",
        "full_determinism=",
        "On a GPU the fastest algorithms add up in another order every time, so that no run equals itself in the last "
        "bits. These do not.",
    ),
    Phase(
        "device",
        "move model and batches to the GPU",
        "use_cpu=; else by itself",
        "A model and its batch must be in the same memory. By hand both are moved, the model once and each batch in "
        "its turn; `Trainer` does it unasked.",
        hint="Where is the model, and where is the batch?",
        gap="the model goes to the GPU if there is one, and each batch to where the model is.",
    ),
    Phase(
        "shuffle",
        "the order of the reviews, epoch by epoch",
        "train_sampling_strategy=, data_seed=",
        "In a fixed order the model would learn the order, too: each batch would always follow the same one. The "
        "order has a generator of its own, seeded for each epoch; drawn from dropout's, it would change dropout.",
        hint="Who decides in which order an epoch's reviews come, and what does it draw from at the next epoch?",
        gap=(
            "each epoch goes through all reviews of train_dataset in a random order, each epoch in another one. "
            "Dropout must not draw from the same generator, or it would be other dropout."
        ),
    ),
    Phase(
        "batch",
        "cut the order into batches and load them",
        "per_device_train_batch_size= and its like",
        "A gradient over all reviews is exact and slow, over one review fast and noisy. A batch is between, and its "
        "size decides how many steps an epoch has.",
        hint="Write down the reviews of every batch of one epoch: is each of the slice there, and only once?",
        gap=(
            "cut the order into batches of config.per_device_train_batch_size; the last of an epoch may be smaller, "
            "and no review is left out. eval_dataset, in its own order, has config.per_device_eval_batch_size. Below, "
            "the training's batches are called train_batches."
        ),
    ),
    Phase(
        "collator",
        "pad each batch to its longest review",
        "Trainer(data_collator=)",
        "A batch is a rectangle of numbers, reviews have different lengths. Padded to the longest of its batch, a "
        "review costs no more than it must; the attention mask says what is padding.",
        hint="What does a batch look like whose reviews have 12 and 40 tokens? Print the ids and their shape.",
        gap=(
            "the reviews of a batch have different lengths. Pad them to the longest of this batch, not of all; the "
            "padding's attention_mask is 0. The tokenizer knows which id pads."
        ),
    ),
    Phase(
        "optimizer",
        "AdamW over the parameters",
        "optim=, learning_rate=, weight_decay=, adam_...",
        "AdamW moves each weight by its own mean gradient, divided by how much that varies. torch's own AdamW lets "
        "weights decay by 0.01, `Trainer` does not unless it is asked to: the defaults differ.",
        hint="Print optimizer.param_groups without the parameters. Which of the values have you chosen?",
        gap=(
            "AdamW over all parameters, with config.learning_rate, betas 0.9 and 0.999, epsilon 1e-8 and "
            "config.weight_decay, which biases and the weights of LayerNorm do not have. It is made once."
        ),
    ),
    Phase(
        "schedule",
        "how the learning rate changes",
        "lr_scheduler_type=, warmup_steps=",
        "Large steps at first, to come near; small ones in the end, to settle. `Trainer` takes the rate in a straight "
        "line to 0 unless it is told otherwise.",
    ),
    Phase(
        "wrapping",
        "16-bit gradients, compiler, processes",
        "activation_checkpointing=, torch_compile=; else by itself",
        "What the model is trained through: it changes how fast it goes and how much memory it takes, not what is "
        "computed.",
    ),
    Phase(
        "epoch",
        "how long: epochs and steps",
        "trainer.train(); num_train_epochs=, max_steps=",
        "An epoch is one pass over the reviews. The schedule must know before the first step how many there will be.",
    ),
    Phase(
        "train mode",
        "switch dropout on",
        "trainer.train()",
        "Dropout leaves out a tenth of the activations at random, so that the model does not rely on single ones. An "
        "evaluation switches it off, and nobody switches it on again unless this line does.",
        hint="Print model.training in every step. Who has changed it last?",
        gap="dropout is on in every step, also in those after an evaluation.",
    ),
    Phase(
        "forward",
        "forward pass",
        "trainer.train(); bf16=, fp16=, label_smoothing_factor=",
        "From token ids and attention mask to a number for each class, and from these and the labels to the loss: how "
        "surprised the model is by the truth.",
        hint="What does the model need besides the ids to tell a word from padding?",
        gap="the model answers the batch; it needs to know what is padding.",
    ),
    Phase(
        "loss",
        "share the loss out over accumulated batches",
        "gradient_accumulation_steps=, and the remedy",
        "Gradients add up over the batches of a step. Each batch's loss is divided by their number, so that the sum "
        "is a mean again, as of one large batch.",
        hint="If a step is made from several batches, what should their losses add up to? And who still holds them?",
        gap=(
            "the mean over the reviews of the batch. If a step is made from several batches, each gives its share, so "
            "that the shares add up to a mean again."
        ),
    ),
    Phase(
        "backward",
        "backward pass",
        "trainer.train()",
        "By the chain rule, back from the loss to each weight: how much would the loss change with this weight? That "
        "is its gradient.",
        hint="What is in p.grad right before the backward pass, and what right after it?",
        gap="the gradients of this loss, once.",
    ),
    Phase(
        "clip",
        "clip the gradients",
        "max_grad_norm=",
        "One odd batch can have a gradient many times as long as the others. Scaled down to a longest length it keeps "
        "its direction and cannot throw the model far off. `Trainer` does it by default, torch never.",
        hint="Print the norm of all gradients together when optimizer.step() is called. How long may it be?",
        gap=(
            "all gradients together, as one vector, are no longer than config.max_grad_norm when the optimizer takes "
            "them."
        ),
    ),
    Phase(
        "step",
        "move the weights",
        "trainer.train()",
        "Only here is anything learned: each weight goes a little way against its gradient.",
        hint="How many batches go into one step, and what happens after an epoch's last batch?",
        gap=(
            "the optimizer moves the weights: once for every config.gradient_accumulation_steps batches, and once for "
            "what is left at an epoch's end."
        ),
    ),
    Phase(
        "schedule step",
        "move the learning rate",
        "trainer.train()",
        "The schedule does not know that a step was made: it has to be told, after each one.",
        hint="Print the learning rate of every step. What should the first be, what the last, and how many?",
        gap=(
            "the learning rate of the next step. It begins at config.learning_rate and falls in a straight line, step "
            "by step, to 0 after the last step of the last epoch; make the schedule before the loop. With "
            "config.warmup_steps it rises from 0 first; config.lr_scheduler_type names another form."
        ),
    ),
    Phase(
        "zero",
        "forget the gradients",
        "trainer.train()",
        "backward() adds to what is there. What is not forgotten is added to every later gradient.",
        hint="When has p.grad been emptied last before this backward pass?",
        gap="the gradients are forgotten before the next step's are added up.",
    ),
    Phase(
        "log",
        "log the mean loss",
        "logging_strategy=, logging_steps=, report_to=",
        "One batch's loss says little; the mean over an epoch says whether it learns. detach() keeps the sum out of "
        "the graph: it is a number to look at, nothing to learn from.",
    ),
    Phase(
        "evaluate",
        "evaluate: loss and accuracy, no gradients",
        "eval_strategy=, eval_steps=; compute_metrics=",
        "On reviews that it has not learned from, without dropout and without gradients, and with each review counted "
        "once: a small last batch weighs less than the others.",
        hint="Do the mean by hand for batches of 8, 8 and 5 reviews. And in which mode is the model?",
        gap=(
            "dropout off, no gradients. Over all reviews of eval_dataset the mean loss, in which each review counts "
            "the same, and the share of the reviews whose largest logit is their label's; append both to evaluations."
        ),
    ),
    Phase(
        "checkpoint",
        "save what it takes to go on, and go on",
        "save_strategy= and its like; ExactResume",
        "A run that is cut off can go on from here. It takes more than the weights: the optimizer's memory, the "
        "schedule, and the state of every random generator.",
    ),
    Phase(
        "progress",
        "show the progress",
        "disable_tqdm=",
        "For whoever waits. It changes nothing.",
    ),
    Phase(
        "save",
        "save weights and tokenizer",
        "trainer.save_model(); processing_class=",
        "A model without its tokenizer cannot read; both go into one folder, from which from_pretrained takes them.",
    ),
    Phase(
        "arguments", "hand everything over", "TrainingArguments(...), Trainer(...): the manual loop hands nothing over"
    ),
)
BY_NAME = {phase.name: phase for phase in PHASES}
