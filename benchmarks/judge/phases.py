"""What a training does, phase by phase: the one list for what shows a phase, asks for it, or judges a loop by it."""

from __future__ import annotations

from typing import NamedTuple


class Phase(NamedTuple):
    """One thing that a training does.

    Attributes:
        name: as the scripts' comments call it.
        does: what it is, in a few words.
        bought: the argument or the call by which `Trainer` does it. Or, where it is not part of the training in either
            script, why it stands there.
        why: why it is there, in a sentence or two; empty where it is not part of the training.
        hint: of a phase that a loop is judged by: a question that leads to the line, and no answer.
        gap: what a student must write in its gap of the loop: enough to know what, without code.
    """

    name: str
    does: str
    bought: str
    why: str = ""
    hint: str = ""
    gap: str = ""


PHASES = (
    Phase("page", "introduction", "not part of the job: what the file is"),
    Phase("imports", "imports", "not part of the job: what the lines below are made of"),
    Phase("function", "the function", "not part of the job: the same signature in both files"),
    Phase(
        "seed",
        "seed every random number generator",
        "set_seed(); TrainingArguments(seed=)",
        "The new head's weights, dropout and the order of the examples are random. The same seed gives the same "
        "random numbers, so a run can be repeated, and two loops can be compared.",
        hint="How often does your loop set a seed, and what does dropout draw after each time?",
        gap="every random number generator starts from config.seed: once, before anything is drawn.",
    ),
    Phase(
        "data",
        "load, shuffle, select, tokenize",
        "Trainer(train_dataset=, eval_dataset=)",
        "Many datasets are sorted by label: IMDB's first 12,500 reviews are all negative. So shuffle before you "
        "select a subset. Then the tokenizer turns words into token ids, the same as in pretraining.",
    ),
    Phase(
        "model",
        "the pretrained body and a new head",
        "Trainer(model=)",
        "The body has been pretrained on a lot of text; only the head, two small layers, is new and random. That is "
        "why a few hundred examples are enough.",
    ),
    Phase(
        "determinism",
        "deterministic algorithms only",
        "full_determinism=",
        "On a GPU the fastest algorithms add numbers in another order each time, so two runs differ in their last "
        "bits. Deterministic algorithms always add in the same order.",
    ),
    Phase(
        "device",
        "move model and batches to the GPU",
        "automatic; use_cpu= keeps them on the CPU",
        "A model and its batch must be in the same memory. In the manual loop you move both: the model once, and each "
        "batch in its step. `Trainer` does it for you.",
        hint="Where is the model, and where is the batch?",
        gap="the model goes to the GPU if there is one, and each batch to where the model is.",
    ),
    Phase(
        "shuffle",
        "the order of the examples in each epoch",
        "train_sampling_strategy=, data_seed=",
        "With a fixed order, every epoch has the same batches in the same order; a new order gives the model new "
        "batches. The order has a generator of its own, which is seeded in every epoch. With a common "
        "generator, this would also restart dropout's random numbers.",
        hint="Who decides the order of an epoch's examples, and from which generator is the next epoch's order drawn?",
        gap=(
            "each epoch goes through all examples of train_dataset in a random order, each epoch in another one. "
            "Dropout must not draw from the same generator, or dropout would change."
        ),
    ),
    Phase(
        "batch",
        "make batches and load them",
        "per_device_train_batch_size= and others",
        "The gradient over all examples is exact but slow; over one example it is fast but noisy. A batch is a "
        "compromise, and its size decides how many steps an epoch has.",
        hint=(
            "Write down the examples of every batch of one epoch: is each example of the training set there, and only "
            "once?"
        ),
        gap=(
            "batches of config.per_device_train_batch_size in this order; the last of an epoch may be smaller, and no "
            "example is left out. eval_dataset, in its own order, has config.per_device_eval_batch_size. Below, the "
            "training batches are called train_batches."
        ),
    ),
    Phase(
        "collator",
        "pad each batch to its longest text",
        "Trainer(data_collator=)",
        "A batch is a rectangle of numbers, but texts have different lengths. Each batch is padded to its own longest "
        "text, so that no batch is longer than it needs to be; the attention mask says what is padding.",
        hint="What does a batch look like whose texts have 12 and 40 tokens? Print the ids and their shape.",
        gap=(
            "the texts of a batch have different lengths. Pad them to the longest of this batch, not of all; the "
            "padding's attention_mask is 0. The tokenizer knows the padding id."
        ),
    ),
    Phase(
        "optimizer",
        "AdamW over the parameters",
        "optim=, learning_rate=, weight_decay=, adam_...",
        "For each weight, AdamW keeps a running mean of the gradient and one of the squared gradient. It divides "
        "the mean by the root of the mean square, so all weights move by steps of similar size. torch's AdamW has a "
        "weight decay of 0.01 by default; `Trainer` has none.",
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
        "Large steps at first, to get close; small steps at the end, to settle. By default `Trainer` lowers the "
        "learning rate linearly to 0.",
    ),
    Phase(
        "wrapping",
        "loss scaling, compiler, processes",
        "activation_checkpointing=, torch_compile=; the rest is automatic",
        "Loss scaling, a compiler and several processes change how fast the model trains and how much memory it "
        "takes. The same examples give the same step, apart from rounding.",
    ),
    Phase(
        "epoch",
        "how long: epochs and steps",
        "trainer.train(); num_train_epochs=, max_steps=",
        "An epoch is one pass over the training set. Before the first step, the schedule must know how many there "
        "will be.",
    ),
    Phase(
        "train mode",
        "switch dropout on",
        "trainer.train()",
        "Dropout sets a tenth of the activations to zero at random, so that the model does not rely on single ones. "
        "The evaluation switches dropout off, and only `model.train()` switches it on again.",
        hint="Print model.training in every step. Which line has changed it last?",
        gap="dropout is on in every step, also in those after an evaluation.",
    ),
    Phase(
        "forward",
        "forward pass",
        "trainer.train(); bf16=, fp16=, label_smoothing_factor=",
        "The model turns token ids and attention mask into a number for each class. These numbers and the labels give "
        "the loss, which says how wrong the model is.",
        hint="What does the model need in addition to the ids to tell a word from padding?",
        gap="call the model on the batch; it needs to know what is padding.",
    ),
    Phase(
        "loss",
        "divide the loss by the number of accumulated batches",
        "gradient_accumulation_steps=, and a workaround for a bug (docs/upstream-fault.md)",
        "A step may use several batches (gradient accumulation). Their gradients add up. Each batch's loss is divided "
        "by the number of batches, so that the sum is the mean, as for one large batch.",
        hint=(
            "If a step is made from several batches, what should their losses add up to? And what keeps their graphs "
            "in memory?"
        ),
        gap=(
            "the mean over the examples of the batch. If a step is made from several batches, divide each one's loss, "
            "so that the sum is a mean again."
        ),
    ),
    Phase(
        "backward",
        "backward pass",
        "trainer.train()",
        "The chain rule gives the gradient of each weight: how much the loss would change if this weight changed.",
        hint="What is in p.grad right before the backward pass, and what right after it?",
        gap="the gradients of this loss, once.",
    ),
    Phase(
        "clip",
        "clip the gradients",
        "max_grad_norm=",
        "One unusual batch can have a much larger gradient than the others. Clipping makes it shorter and keeps its "
        "direction, so that one batch cannot move the model far away. `Trainer` clips by default, torch does not.",
        hint="Print the norm of all gradients together when optimizer.step() is called. How long may it be?",
        gap=(
            "the norm of all gradients together, as one vector, is at most config.max_grad_norm when the optimizer "
            "uses them."
        ),
    ),
    Phase(
        "step",
        "update the weights",
        "trainer.train()",
        "Here the model learns: each weight moves a little against its gradient.",
        hint="How many batches go into one step, and what happens after an epoch's last batch?",
        gap=(
            "the optimizer updates the weights: once for every config.gradient_accumulation_steps batches, and once "
            "for what is left at an epoch's end."
        ),
    ),
    Phase(
        "schedule step",
        "update the learning rate",
        "trainer.train()",
        "The schedule does not notice that a step was made, so it is called after each one.",
        hint="Print the learning rate of every step. What should the first be, what the last, and how many?",
        gap=(
            "the learning rate of the next step. It begins at config.learning_rate and falls in a straight line, step "
            "by step, to 0 after the last step of the last epoch; make the schedule before the loop. With "
            "config.warmup_steps it rises from 0 first; config.lr_scheduler_type names another form."
        ),
    ),
    Phase(
        "zero",
        "set the gradients to zero",
        "trainer.train()",
        "backward() adds to the gradients that are there. Without zero_grad(), each gradient also contains all "
        "earlier ones.",
        hint="Which line has emptied p.grad before this backward pass, and when?",
        gap="the gradients are zero before the next step's are added up.",
    ),
    Phase(
        "log",
        "log the mean loss",
        "logging_strategy=, logging_steps=, report_to=",
        "One batch's loss says little; the mean over an epoch shows whether the model learns. detach() keeps the sum "
        "out of the graph, so that each step's memory is freed.",
    ),
    Phase(
        "evaluate",
        "evaluate: loss and accuracy, no gradients",
        "eval_strategy=, eval_steps=; compute_metrics=",
        "The evaluation uses examples that the model was not trained on. It runs without dropout and without "
        "gradients. Each example counts once, so a smaller last batch counts less.",
        hint="Compute the mean with a pencil for batches of 8, 8 and 5 examples. And in which mode is the model?",
        gap=(
            "dropout off, no gradients. Over all examples of eval_dataset the mean loss, in which each example counts "
            "the same, and the share of examples whose largest logit is their label's; append both to evaluations."
        ),
    ),
    Phase(
        "checkpoint",
        "save and load checkpoints",
        "save_strategy= and others; SameLoop's callback ExactResume",
        "An interrupted run can continue from a checkpoint. That takes more than the weights: the optimizer's state, "
        "the schedule, and the state of every random generator. manual_loop/checkpoint.py saves all of it; "
        "the short script that `sameloop eject` writes saves only the model and the tokenizer.",
    ),
    Phase(
        "progress",
        "show the progress",
        "disable_tqdm=",
        "It shows how far the training has come, and changes nothing.",
    ),
    Phase(
        "save",
        "save weights and tokenizer",
        "trainer.save_model(); processing_class=",
        "A model needs its tokenizer; both go into one folder, which from_pretrained loads.",
    ),
    Phase(
        "arguments",
        "pass everything to Trainer",
        "TrainingArguments(...), Trainer(...): the manual loop needs nothing of the kind",
    ),
)
BY_NAME = {phase.name: phase for phase in PHASES}
