"""The one list of mistakes: the gallery, the ladder, the lesson's questions, the exercises and the proofs use it.

The mistakes of the gallery were made by people in loops of their own: `source` says where; the facts are from the
threads, the edits are ours. The others are what readers did to the script, and what the rules of comparisons and of
checks are there for. What cannot be seen in a loop's run, or not in one process on one machine, is in `UNSEEN`.
"""

from __future__ import annotations

from benchmarks.mistakes.mistake import Mistake, Question
from benchmarks.mistakes.of_data import OF_DATA
from benchmarks.mistakes.of_gradients import OF_GRADIENTS
from benchmarks.mistakes.of_reports import OF_REPORTS
from benchmarks.mistakes.of_updates import OF_UPDATES

MISTAKES: dict[str, Mistake] = {
    mistake.name: mistake for mistake in (*OF_DATA, *OF_GRADIENTS, *OF_UPDATES, *OF_REPORTS)
}
GALLERY = {name: mistake for name, mistake in MISTAKES.items() if mistake.source}
# By the names of the fixes, in the order in which the first difference never moves to an earlier step. The pieces of
# two of them do not overlap, so that any can be left out in any order.
LADDER_STEPS: dict[str, Mistake] = {
    mistake.step.name: mistake
    for mistake in sorted(MISTAKES.values(), key=lambda mistake: mistake.step.place if mistake.step else 0)
    if mistake.step
}
# By the phase whose line is left out.
QUESTIONS: dict[str, Question] = {
    mistake.phase: mistake.question._replace(without=mistake.question.without or mistake.what)
    for mistake in MISTAKES.values()
    if mistake.question is not None
}

# Mistakes from the same threads that a check does not see, each with the reason, or with what sees it.
UNSEEN = (
    "the seed is set after the model was built (huggingface/trl PR #4887, PaddleNLP #6546, transformers #11965): "
    "a checked loop is handed its model; `sameloop compare` sees it in the initial weights",
    "the logged training loss is the last small batch's (nanoGPT's train.py says so): "
    "a checked loop returns its evaluations only; `sameloop compare` sees it in the log of a loop that has one",
    "numpy's random state is alike in all loader workers (pytorch #5059, fairseq #1383): "
    "nothing here draws from numpy in a worker: there is no augmentation of text",
    "gradients are clipped while fp16 scales them (pytorch/examples #1196): fp16 needs a GPU, a check runs on the CPU",
    'the "best" weights are kept by reference (pytorch/tutorials PR #188): '
    "a check judges the training and the evaluations, not which weights are kept in the end",
    "the best epoch is chosen on the test set: "
    "the loop computes nothing that is wrong: no run can show it, only the text that reports it",
    "resumed without the state of schedule or optimizer (PolymathicAI/the_well #77): "
    "a check does not resume; `sameloop compare` with a checkpoint does",
    "`prepare` is given the schedule, and moves it once per process (huggingface/accelerate #2926, diffusers #3954): "
    "a check is one process; `sameloop compare --nproc-per-node 2` sees it in the learning rate",
    "`Accelerator()` in several processes without a GPU: each trains alone, until `cpu=True` (torchrun): "
    "a check is one process; `sameloop compare --nproc-per-node 2` sees it in the batches",
    "the wrapped model is bypassed under several processes (x.com/jxmnop/status/1778520637193240892): "
    "a check is one process; `sameloop compare --nproc-per-node 2` sees it",
)
