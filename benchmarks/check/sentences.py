"""What a check says of a mistake, by the code of its finding; what stands in braces is filled in from the run.

The other findings' sentences are made where they are found, because they depend on more.
"""

SENTENCES = {
    "seed.again": (
        "the random state is that of an earlier step: a seed is set inside the loop, so dropout drops the same "
        "neurons again"
    ),
    "shuffle.replacement": "reviews are drawn with replacement: in an epoch some come twice and others never",
    "batch.slice": "the training uses examples of the validation set",
    "batch.size": "the batch size is not per_device_train_batch_size, {due} reviews; is {size} hard-coded?",
    "batch.epochs": "the number of epochs is not num_train_epochs; is {count} hard-coded?",
    "batch.again": "a batch is trained on twice in a row; each must come once in an epoch",
    "batch.last": "an epoch's last batch, which is not full, is left out (drop_last)",
    "batch.missing": "an epoch does not contain all reviews",
    "batch.twice": "some reviews come more than once in an epoch",
    "mode.eval": "model.train() was not called {moment}, so dropout is off",
    "mode.parts": "not all of the model is in train mode: {name} is not",
    "forward.part": (
        "only parts of the model are called in training, never the model itself, so its inputs and outputs are not "
        "seen. Call the model"
    ),
    "forward.repeated": "the model is called several times on the same reviews before a step",
    "forward.other": "the logits are not those of this batch",
    "autocast.forward": "the forward pass runs in {kind}",
    "dropout.rates": "the dropout layers' probability is not that of the model's own configuration",
    "model.copy": (
        "it trains another model than the one that was passed to train(), such as a copy of it; that one does not "
        "change"
    ),
    "loss.not_scalar": "backward() is not called on a single number",
    "loss.criterion": "backward() is called on another loss than the mean of this batch, and not on a multiple of it",
    "loss.graphs": (
        "the graphs of earlier steps are still in memory: use loss.item() or loss.detach() to keep or add up losses"
    ),
    "backward.missing": "there are forward passes in train mode, and never a backward pass",
    "backward.other": "the backward pass leaves other gradients than the loss has",
    "backward.repeated": "there are two backward passes for one forward pass: its gradients count twice",
    "backward.between": "the gradients change between two batches of one step",
    "clip.inside": "the gradients are clipped after every batch, not once per step",
    "clip.missing": "the gradients reach the optimizer unclipped{where}",
    "clip.limit": "the gradients are scaled to another norm than max_grad_norm",
    "clip.changed": "after the backward pass the gradients are changed in another way than by a clip, as by noise",
    "clip.uneven": "the gradients are not scaled by one number, all together, but clipped in another way",
    "step.before": (
        "the first {first} are made by another optimizer than the {others} after them, as in a learning-rate search, "
        "and have changed the weights, too; use a copy of the model there"
    ),
    "step.missing": "no step follows batch {batch} of epoch {epoch}",
    "step.empty": "the optimizer steps without a backward pass since its last step",
    "step.number": "the optimizer steps after another number of batches than gradient_accumulation_steps says",
    "step.last": "no step follows the last batch",
    "step.none": "optimizer.step() is never called",
    "dtype.weights": (
        "the weights are in {dtypes}: most updates are too small for it and are rounded away; keep them in float32 "
        "and use torch.autocast"
    ),
    "weights.first": "the first forward pass has other weights than those passed to train()",
    "weights.between": "the weights change without a step of an optimizer",
    "weights.end": (
        "after the last step the weights change, and not to those of an earlier step: the final model is not the "
        "trained one"
    ),
    "schedule.rate": "the learning rate does not start at config.learning_rate; {explanation}",
    "schedule.constant": "the learning rate never changes: call scheduler.step() after every step",
    "schedule.ahead": "the schedule is one step ahead",
    "schedule.behind": "the schedule is one step behind",
    "schedule.per_epoch": "scheduler.step() is called once per epoch, not after every step",
    "schedule.epoch_total": (
        "the schedule ends after one epoch: its total is the number of steps of one epoch, not of all"
    ),
    "schedule.batch_total": "the schedule counts batches, not steps: the learning rate falls too slowly",
    "schedule.per_batch": "scheduler.step() is called after every batch, not after every step",
    "schedule.first": "the first step does not have config.learning_rate, but a warm-up or another rate",
    "schedule.shape": "the schedule has another shape: check its warm-up and its total number of steps",
    "zero.missing": "the gradients of the step before are still there: zero_grad() is missing between the steps",
    "zero.partly": "{left} of {of_step} gradients of the step before are still there",
    "zero.inside": "zero_grad() comes between the batches of one step: only the last one counts",
    "zero.before_step": ("zero_grad() comes between the backward pass and the step: nothing is left to step with"),
    "evaluate.moment": "no evaluation follows epoch {number}",
    "evaluate.reviews": "the evaluation uses examples of the training set",
    "evaluate.mode": "model.eval() is missing: dropout is on in the evaluation",
    "evaluate.graph": "the evaluation builds graphs that are not needed: torch.no_grad() is missing",
    "evaluate.last_batch": "the evaluation's last batch, which is not full, is left out (drop_last)",
    "evaluate.samples": "the evaluation does not use every review exactly once",
    "evaluate.weights": (
        "the evaluated weights are not those after the last step, but, for example, an average of several"
    ),
    "evaluate.not_reported": "it does not return one line with eval_loss and eval_accuracy per evaluation",
}
