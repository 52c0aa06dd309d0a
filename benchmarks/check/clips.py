"""Compare the clipping of a loop's gradients with the right one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from benchmarks.check.notes import Notes, norm_of
from benchmarks.check.recording import Event
from benchmarks.check.replay import Tensors


def judge_clip(
    gradients: Tensors, after: Tensors, right: Tensors, limit: float, places: set[str], notes: Notes, step: int
) -> None:
    """Judge whether the gradients that reach the optimizer are clipped correctly.

    Args:
        gradients: at the step.
        after: the gradients after the last backward pass.
        right: the same gradients, clipped.
        limit: `max_grad_norm`; 0: no clipping.
        places: the kinds of events after which torch's clip functions are called, as `clip_places` returns them.
        notes: receives the findings.
        step: the step's number, from 1.
    """
    if notes.same_gradients(gradients, right):
        return
    if not any(gradient.any() for gradient in gradients.values()):
        notes.add(
            "zero.before_step",
            "zero_grad() comes between the backward pass and the step: nothing is left to step with",
            "norm 0 at the step",
            f"norm {norm_of(right):.4g}",
            step,
        )
        return
    norm, unclipped = norm_of(gradients), norm_of(after)
    if notes.same_gradients(gradients, after, count=False):
        code, text = "clip.missing", "the gradients reach the optimizer unclipped"
        if places == {"forward"}:
            text += ": the clip comes before the backward pass, when they are not there yet"
        elif places == {"step"}:
            text += ": the clip comes after the step"
    elif notes.same_gradients(gradients, scaled(after, norm / max(unclipped, 1e-30)), count=False):
        code, text = "clip.limit", "the gradients are scaled to another norm than max_grad_norm"
    elif any(norm_of({name: gradient}) > 1.001 * norm_of({name: after[name]}) for name, gradient in gradients.items()):
        code = "clip.changed"
        text = "after the backward pass the gradients are changed in another way than by a clip, as by noise"
    else:
        code = "clip.uneven"
        text = "the gradients are not scaled by one number, all together, but clipped in another way"
    notes.add(code, text, f"norm {norm:.4g}", f"norm {min(unclipped, limit or math.inf):.4g}", step)


def clip_places(events: Sequence[Event]) -> set[str]:
    """The kinds of events after which torch's clip functions are called."""
    places, before = set(), "forward"
    for event in events:
        if event.kind == "clip":
            places.add(before)
        elif event.kind in ("forward", "backward", "step"):
            before = event.kind
    return places


def scaled(gradients: Tensors, factor: float) -> dict[str, torch.Tensor]:
    return {name: gradient * factor for name, gradient in gradients.items()}
