"""What a script's Trainer does that its author may not know: one sentence each, with this run's own figures."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.charts.data import NAMES, names_of
from shared.recording.record import RunRecord


def own_job(manual: RunRecord, trainer: RunRecord) -> dict[str, Any]:
    """What a comparison says about a user's own job, or about two loops of theirs; nothing about any other.

    Returns:
        `sides`, their names; for a script's job also `facts`, what else its Trainer does.
    """
    records = (manual, trainer)
    if all("job" in record.header for record in records):
        jobs = [record.header["job"] for record in records]
        # A loop is generated after a look at a batch, so its job tells more.
        described = next((job for job in jobs if job["is_loop"]), jobs[-1])
        return {"sides": [job["side"] for job in jobs], "facts": facts(trainer, described)}
    names = names_of(manual, trainer)
    return {} if names is NAMES else {"sides": [*names.values()]}


def facts(record: RunRecord, job: dict[str, Any]) -> list[str]:
    """The facts, a sentence each, as far as the record of the Trainer's side shows them.

    Args:
        record: the record of the script's own Trainer.
        job: what was noted about it before the training, `benchmarks.port.job.header_of`.
    """
    sentences = [*_accumulation(record, job), *_clip(record, job), *_length(job), *_evaluation(record, job)]
    if abs(job["share"] - 1) > 1e-3:
        sentences.append(
            f"Trainer counts more labels than the loss of {job['model']} has (a shifted loss has none for the first "
            f"token), so what goes into backward() is {job['share']:.4g} times the mean loss. The loop does the same"
        )
    for method in job.get("never_called", []):
        sentences.append(
            f"your {method} has no effect: Trainer never calls it in transformers {job['transformers']}; override "
            "create_optimizer and create_scheduler, or give optimizers=(optimizer, scheduler)"
        )
    if job["unused_columns"]:
        sentences.append(f"columns that the model does not take are left out: {', '.join(job['unused_columns'])}")
    return sentences


def _accumulation(record: RunRecord, job: dict[str, Any]) -> list[str]:
    """Whether the loss is not divided by the number of batches before backward(), with the losses of one step."""
    several = [line for line in record.steps if len(line["batch"]) > 1 and len(line["losses"]) > 1]
    if (
        job["per_step"] == 1
        or not several
        or job["is_divided"] is not False
        or job["counts"]
        or job["is_own_function"]
    ):
        return []
    first, per_step = several[0], len(several[0]["losses"])
    means = " + ".join(f"{loss:.4g}" for loss in first["losses"])
    return [
        f"a step learns from {per_step} batches, and its loss is their sum, not their mean: {per_step} times as "
        f"large (step {first['step']}: {sum(first['losses']):.4g} = {means}), and the clip acts on that. Trainer "
        f"believes that {job['model']} divides by the number of labels, and leaves its own division out "
        "(huggingface/transformers#47688). The loop does the same; in a subclass of Trainer, the class attribute "
        "loss_is_scaled_for_ga = False fixes it"
    ]


def _clip(record: RunRecord, job: dict[str, Any]) -> list[str]:
    limit = job["max_grad_norm"]
    norms = [line["unclipped_norm"] for line in record.steps if line.get("unclipped_norm") is not None]
    clipped = [norm for norm in norms if limit and norm > limit]
    if not clipped:
        return []
    return [
        f"max_grad_norm {limit:g}, which Trainer applies by itself, scales the gradients down in {len(clipped)} of "
        f"{len(norms)} steps (median norm {median(norms):.3g})"
    ]


def _length(job: dict[str, Any]) -> list[str]:
    sentences, remainder = [], job["batches_per_epoch"] % job["per_step"]
    if job["per_step"] > 1 and remainder:
        sentences.append(
            f"{job['batches_per_epoch']} batches are not a multiple of {job['per_step']}: each epoch's last step "
            f"learns from {remainder}, with the same learning rate as the others"
        )
    dropped = job["examples"] % job["batch_size"]
    if job["drop_last"] and dropped:
        sentences.append(f"dataloader_drop_last leaves out {dropped} of {job['examples']} examples in every epoch")
    return sentences


def _evaluation(record: RunRecord, job: dict[str, Any]) -> list[str]:
    sentences = []
    if record.evaluations and not any(name.endswith("loss") for line in record.reported_evaluations for name in line):
        sentences.append(
            f"the evaluations report no loss: Trainer finds no parameter of {job['model']}.forward whose name has "
            "`label` in it; TrainingArguments(label_names=[...]) names them"
        )
    evaluated, reported = record.evaluations[-1:], record.reported_evaluations[-1:]
    if job["weighs_as_full"] and evaluated and reported and evaluated[0]["batch_sizes"][-1] != job["weighs_as_full"]:
        sentences.append(
            f"the eval_loss that Trainer reports, {reported[0]['eval_loss']:.6g}, is not the mean over the "
            f"examples, {evaluated[0]['loss']:.6g}: it weighs the last batch, {evaluated[0]['batch_sizes'][-1]} "
            f"examples, as {job['weighs_as_full']}. The loop does the same"
        )
    if cut := job.get("eval_cut"):
        sentences.append(
            f"an evaluation at the end of an epoch keeps only the first {cut} examples of each batch, for the metrics "
            "and for eval_loss: accelerate has not prepared the loader that your get_eval_dataloader returns, and "
            "cuts it as the training's last batch is; return self.accelerator.prepare(...) of it"
        )
    sizes = {size for line in record.evaluations for size in line["batch_sizes"]}
    has_many = job.get("labels_per_example", 2) > 1 and any(not any(line["labels"]) for line in record.steps[:1])
    if has_many and len(sizes) > 1 and "labels" in (record.steps[0]["batch"] or [{}])[0]:
        sentences.append(
            "eval_loss is the mean over examples of their batch's mean loss per token: a batch of few tokens weighs "
            "as much as one of many"
        )
    return sentences
