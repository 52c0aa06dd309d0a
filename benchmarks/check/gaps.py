"""Fill the open gaps of an unfinished loop correctly, so that the part that is written can be judged.

A gap of the skeleton is a `raise`. In its place the loop's process does what the phase must do. From the batches on,
the training runs to its end, and each phase that the student has written is judged, whatever is still open.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from benchmarks.judge.phases import BY_NAME
from shared.running.notebooks import parsed
from shared.running.script import LoopScript

# The message of a gap's `raise`, after the name of the phase.
STILL_OPEN = "this gap is still to be filled"
# The line that replaces a gap, by its phase; it uses the skeleton's names. A phase that the judging of others does not
# need is replaced by `pass`.
FILLED = {
    "batch": "train_batches = _gaps.batches(locals(), train_dataset, tokenizer, config)",
    "train mode": "model.train()",
    "forward": "_gaps.forward(model, batch)",
    "backward": "_gaps.backward(locals())",
    "step": "_gaps.step(locals(), model, config)",
    "zero": "model.zero_grad()",
}
# The phases whose code, written by the student, the replacement of `batch` has used.
used_phases: set[str] = set()


def open_gaps(source: str) -> list[str]:
    """The phases whose gap is still open, from top to bottom; none in a file that is not Python."""
    return [phase for _, phase in _open_gap_lines(source)]


def fill_gaps(script: LoopScript) -> LoopScript:
    """The same script with every open gap filled; the line numbers stay the same."""
    global _output, _optimizer
    _output = _optimizer = None
    used_phases.clear()
    source = script.source
    lines = source.splitlines(keepends=True)
    places = _open_gap_lines(source)
    for number, phase in places:
        line = lines[number - 1]
        space = line[: len(line) - len(line.lstrip())]
        replacement = FILLED.get(phase, "pass")
        lines[number - 1] = f"{space}from benchmarks.check import gaps as _gaps; {replacement}\n"
    return script.edited(source, "".join(lines)) if places else script


def _open_gap_lines(source: str) -> list[tuple[int, str]]:
    """The line number and the phase of every open gap."""
    if (tree := parsed(source)) is None:
        return []
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = getattr(node.exc.args[0], "value", None)
            name, _, rest = text.partition(": ") if isinstance(text, str) else ("", "", "")
            if rest == STILL_OPEN and name.lower() in BY_NAME and node.lineno == node.end_lineno:
                places.append((node.lineno, name.lower()))
    return sorted(places)


# What fills the gaps ------------------------------------------------------------------------------


def batches(names: Mapping[str, Any], train_dataset: Any, tokenizer: Any, config: Any) -> Any:
    """Right batches, with the student's sampler and collator if the function has variables for them."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler, Sampler
    from transformers import DataCollatorWithPadding

    sampler = next((value for value in names.values() if isinstance(value, Sampler)), None)
    collator = next((value for name, value in names.items() if _is_collator(name, value)), None)
    used_phases.update({"shuffle"} if sampler is not None else set(), {"collator"} if collator is not None else set())
    order = torch.Generator().manual_seed(config.seed)
    return DataLoader(
        train_dataset,
        config.per_device_train_batch_size,
        sampler=RandomSampler(train_dataset, generator=order) if sampler is None else sampler,
        collate_fn=DataCollatorWithPadding(tokenizer) if collator is None else collator,
    )


def _is_collator(name: str, value: Any) -> bool:
    """Whether a variable holds a collator: one of transformers, or a function whose name says so."""
    module = getattr(value, "__module__", "") or ""
    if isinstance(value, type) or not callable(value):
        return False
    if type(value).__module__.startswith("transformers.data."):
        return True
    return ("coll" in name.lower() or "pad" in name.lower()) and not module.startswith(("torch", "transformers"))


def forward(model: Any, batch: Any) -> None:
    """A forward pass, whose output `backward` uses."""
    global _output
    _output = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels") if name in batch})


_output: Any = None


def backward(names: Mapping[str, Any]) -> None:
    """The backward pass of the student's loss, or of the model's if that is not written."""
    import torch

    def has(dimensions: int, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.dim() == dimensions and value.requires_grad

    outputs = [*names.values(), _output]
    candidates = [names.get("loss"), *names.values(), *(getattr(value, "loss", None) for value in outputs)]
    loss = next((candidate for candidate in candidates if has(0, candidate)), None)
    if loss is None:
        logits = next(value for value in (getattr(x, "logits", x) for x in outputs) if has(2, value))
        loss = torch.nn.functional.cross_entropy(logits, names["batch"]["labels"])
    loss.backward()


def step(names: Mapping[str, Any], model: Any, config: Any) -> None:
    """A step of the student's optimizer, or of the right one if the function has no variable for it."""
    global _optimizer
    import torch

    from manual_loop.optimizer import make_optimizer, parameter_groups

    optimizer = next((value for value in names.values() if isinstance(value, torch.optim.Optimizer)), _optimizer)
    if optimizer is None:
        optimizer = _optimizer = make_optimizer(parameter_groups(model, config), config)
    optimizer.step()


_optimizer: Any = None
