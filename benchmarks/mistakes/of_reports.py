"""Mistakes in what a run reports and saves: evaluation, log, saving; what stops it; and several mistakes at once."""

from __future__ import annotations

from benchmarks.mistakes import line
from benchmarks.mistakes.mistake import LadderStep, Mistake, Pieces, Question, Verdict

# Lines of the full loop.
WHOLE_CLIP = "grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)"
WHOLE_ZERO = "            optimizer.zero_grad()  # Zero: or the next gradients are added to these.\n"
WHOLE_RETURN = "    return state.log_history\n"
LOGGED = "log_training(state, grad_norm, rate)"


def _returned(expression: str) -> Pieces:
    """The full loop, returning something else than its log."""
    return ((WHOLE_RETURN, f"    return {expression}\n"),)


OF_REPORTS = (
    # Evaluation
    Mistake(
        "eval_drop_last",
        "drop_last=True on the evaluation's loader",
        "evaluate",
        line.changed(line.EVAL_LOADER, ")", ", drop_last=True)"),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.last_batch"),
        source="thuml/Nonstationary_Transformers #26: an error of 1.89 reported, 2.94 in truth",
    ),
    Mistake(
        "mean_of_means",
        "the evaluation's loss is the mean of the batches' means",
        "evaluate",
        ((line.LOSSES, "            losses.append(output.loss.item())\n"),),
        compared=Verdict("step 8: eval_loss", "evaluate.mean_of_means"),
        source="mlcommons/training #89, MLPerf's IMDB reference",
        step=LadderStep(
            6,
            "mean",
            "Trainer's evaluation loss is the mean over reviews; a mean of batches gives a small last one too much "
            "weight.",
        ),
    ),
    Mistake(
        "graphs_in_evaluation",
        "the evaluation builds graphs",
        "evaluate",
        (("            with torch.no_grad():\n", "            with torch.enable_grad():\n"),),
        check="evaluate.graph",
        source="macrocosm-os/pretraining PR #104",
    ),
    Mistake(
        "evaluation_in_float64",
        "the evaluation loss summed in Python's floats",
        "evaluate",
        (("np.mean(losses, dtype=np.float32).item()", "sum(losses) / len(losses)"),),
        compared=Verdict("step 8: eval_loss", "evaluate.rounding"),
        check="",
    ),
    Mistake(
        "accuracy_of_last_batch",
        "the accuracy is the last batch's",
        "evaluate",
        (("            correct += (output", "            correct = (output"),),
        compared=Verdict("step 8: eval_accuracy", "evaluate.last_batch_only"),
    ),
    Mistake(
        "eval_batch_of_4",
        "another batch size in the evaluation",
        "evaluate",
        line.changed(line.EVAL_LOADER, "eval_batch_size", "4"),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.batch_size"),
        check="",
    ),
    Mistake(
        "evaluated_on_training_set",
        "the evaluation uses training examples",
        "evaluate",
        line.changed(line.EVAL_LOADER, "eval_dataset", "train_dataset.select(range(len(eval_dataset)))"),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.reviews"),
    ),
    Mistake(
        "eval_labels_flipped",
        "labels flipped in the evaluation",
        "evaluate",
        line.after(line.EVAL_FOR, '            batch["labels"] = 1 - batch["labels"]\n'),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.labels"),
        check="evaluate.number",
    ),
    Mistake(
        "eval_padded",
        "every batch of the evaluation is padded to one length",
        "evaluate",
        line.changed(
            line.EVAL_LOADER, "=collator", '=DataCollatorWithPadding(tokenizer, "max_length", config.max_length)'
        ),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.order"),
        check="",
    ),
    Mistake(
        "eval_reversed",
        "the reviews of the evaluation in another order",
        "evaluate",
        line.after(
            line.EVAL_FOR, "            batch.update({name: values.flip(0) for name, values in batch.items()})\n"
        ),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.order"),
        check="",
    ),
    Mistake(
        "eval_mask_of_ones",
        "the attention mask is all ones in the evaluation",
        "evaluate",
        line.after(line.EVAL_FOR, '            batch["attention_mask"].fill_(1)\n'),
        compared=Verdict("step 8: eval_forward_batch", "evaluate.mask"),
    ),
    Mistake(
        "eval_autocast",
        "autocast in the evaluation only",
        "evaluate",
        line.changed(line.EVAL_FORWARD, "model(**", 'torch.autocast("cpu", torch.bfloat16)(model)(**'),
        compared=Verdict("step 8: eval_forward_logits", "evaluate.precision"),
        check="evaluate.logits",
    ),
    Mistake(
        "no_evaluation",
        "numbers are returned that no evaluation computed",
        "evaluate",
        ((line.EVAL_FOR, "        losses, correct = [0.1], [1.0]\n        for batch in ():\n"),),
        compared=Verdict("step 8: evaluation", "evaluate.moment"),
    ),
    # Log, and what is returned
    Mistake(
        "nothing_reported",
        "return []",
        "log",
        whole=_returned("[]"),
        compared=Verdict("step 8: eval_loss", "evaluate.not_reported"),
    ),
    Mistake(
        "no_evaluation_reported",
        "no evaluation in the returned log",
        "log",
        whole=_returned("[line for line in state.log_history if 'eval_loss' not in line]"),
        compared=Verdict("step 8: eval_loss", "evaluate.not_reported"),
    ),
    Mistake(
        "no_loss_reported",
        "no training loss in the returned log",
        "log",
        whole=_returned("[line for line in state.log_history if 'loss' not in line]"),
        compared=Verdict("step 16: number of log lines", "log.training"),
    ),
    Mistake(
        "clipped_norm_logged",
        "the gradient norm that is logged is the one after the clip",
        "log",
        whole=((LOGGED, LOGGED.replace("grad_norm", "grad_norm.clamp(max=limit)")),),
        compared=Verdict("step 8: logged grad_norm", "log.training"),
    ),
    Mistake(
        "last_loss_logged",
        "the training loss that is logged is the last batch's",
        "log",
        whole=line.instead(
            "            state.total_loss += loss.detach()",
            "            state.total_loss = loss.detach() * (state.step + 1 - state.step_logged)",
        ),
        compared=Verdict("step 8: logged loss", "log.training"),
    ),
    Mistake(
        "no_bar",
        "there is no progress bar",
        "progress",
        whole=(("            progress.update()", "            pass"),),
        question=Question((("            progress.update()", "            pass"),)),
    ),
    # Save
    Mistake(
        "saved_in_half",
        "the weights are rounded to 16 bits before they are saved",
        "save",
        line.before(line.RETURN, "    model.half().float()\n"),
        compared=Verdict("step 16: weights", "weights.end"),
        items=("step",),
    ),
    Mistake(
        "not_saved",
        "the trained model is not saved",
        "save",
        whole=(("        model.save_pretrained(output_dir)\n", ""),),
        compared=Verdict(stopped="the function train saved no model"),
        question=Question((("    model.save_pretrained(output_dir)\n", ""),)),
    ),
    Mistake(
        "no_checkpoint",
        "no checkpoint is saved",
        "checkpoint",
        compared=None,
        question=Question(
            (("            part.save_pretrained(folder)\n", "            pass\n"),),
            settings={"save_strategy": "epoch"},
        ),
    ),
    # What stops the run, as an error of the script
    Mistake(
        "clip_commented_out",
        "the clip commented out, its value still used",
        "clip",
        whole=((WHOLE_CLIP, "# the clip"),),
        compared=Verdict(stopped="NameError: name 'grad_norm' is not defined"),
    ),
    Mistake(
        "mistyped",
        "a name mistyped",
        "zero",
        whole=((WHOLE_ZERO, "            optimiser.zero_grad()\n"),),
        compared=Verdict(stopped="NameError: name 'optimiser' is not defined"),
    ),
    Mistake(
        "syntax",
        "a bracket not closed",
        "zero",
        whole=((WHOLE_ZERO, "            optimizer.zero_grad(\n"),),
        compared=Verdict(stopped="SyntaxError: '(' was never closed"),
    ),
    Mistake(
        "no_no_grad",
        "no no_grad, and numpy of a tensor with a graph",
        "evaluate",
        whole=(("@torch.no_grad()\n", ""),),
        compared=Verdict(stopped="RuntimeError: Can't call numpy() on Tensor that requires grad"),
    ),
    Mistake(
        "no_return",
        "the evaluation returns nothing",
        "evaluate",
        whole=(('    return {"eval_loss"', '    metrics = {"eval_loss"'),),
        compared=Verdict(stopped="TypeError: "),
    ),
    # Several
    Mistake(
        "three_mistakes",
        "no train mode, no clip and torch's decay at once",
        "train mode",
        ((line.TRAIN, ""), (line.CLIP, ""), (line.OPTIMIZER, "torch.optim.AdamW(model.parameters(), lr)")),
        compared=Verdict("step 1: mode", "mode.eval", ("optimizer.settings", "clip.missing")),
        items=("train mode", "clip", "optimizer"),
    ),
)
