"""Find out which reviews a batch contains, and what the right batch of them is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

# Padding to a multiple of this number of tokens is for speed on a GPU, and changes nothing.
MULTIPLE = 8
# How a batch differs from the right one: the finding's code, its text, and the two values.
Difference = tuple[str, str, str, str]


class Subset:
    """The training or validation set, whose reviews are recognized by their tokens.

    Args:
        rows: each with `input_ids` and `labels`.
        pad: the id of the padding token.

    Raises:
        ValueError: two reviews have equal tokens, so they cannot be told apart.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], pad: int) -> None:
        self._pad = pad
        self._tokens: list[tuple[int, ...]] = []
        self._labels: list[int] = []
        for row in rows:
            self._tokens.append(tuple(map(int, row["input_ids"])))
            self._labels.append(int(row["labels"]))
        self._numbers = {tokens: number for number, tokens in enumerate(self._tokens)}
        if len(self._numbers) != len(self._tokens):
            raise ValueError("two examples of the set have equal tokens")

    def __len__(self) -> int:
        return len(self._tokens)

    def reviews(self, tensors: Mapping[str, torch.Tensor]) -> list[int | None]:
        """The number in the set of each review of a batch; None for one that is not in it."""
        ids = tensors.get("inputs.input_ids")
        if ids is None or ids.dim() != 2:
            return []
        rows = [tuple(token for token in row if token != self._pad) for row in ids.tolist()]
        return [self._numbers.get(row, self._truncated(row)) for row in rows]

    def is_sorted(self, order: Sequence[int]) -> bool:
        """Whether reviews are sorted by label or by length, ascending or descending."""
        by_label = [self._labels[number] for number in order]
        by_length = [len(self._tokens[number]) for number in order]
        return len(set(by_label)) > 1 and any(
            keys in (sorted(keys), sorted(keys, reverse=True)) for keys in (by_label, by_length)
        )

    def right_inputs(
        self, tensors: Mapping[str, torch.Tensor], reviews: Sequence[int | None]
    ) -> tuple[dict[str, torch.Tensor] | None, Difference | None]:
        """The right batch of these reviews, as wide as the loop's, and how the loop's batch differs from it.

        Returns:
            `input_ids` and `attention_mask` (batch, tokens) and `labels` (batch,), None if the reviews are unknown;
            and the difference, None if there is none.
        """
        ids = tensors.get("inputs.input_ids")
        if ids is None:
            return None, ("forward.inputs", "the model is called without input_ids", "none", "input_ids")
        if None in reviews or not reviews:
            cause = "a row of the batch has the tokens of no example of the set"
            return None, ("collator.tokens", cause, str(ids[0, :6].tolist()), "the reviews' own input_ids")
        tokens = [self._tokens[review] for review in reviews]
        longest, width = max(map(len, tokens)), ids.shape[1]
        labels = torch.tensor([self._labels[review] for review in reviews])
        right = self._padded(tokens, max(width, longest))
        difference: Difference | None
        if width < longest:
            cause = "reviews are truncated: the batch is narrower than its longest review"
            difference = ("collator.cut", cause, f"{width} tokens", f"{longest} tokens")
        elif not torch.equal(ids, right["input_ids"]):
            cause = "the padding is not at the end of the reviews, or not the tokenizer's padding token"
            beginnings = [str(rows[0].tolist()[:6]) for rows in (ids, right["input_ids"])]
            difference = ("collator.padding", cause, beginnings[0], beginnings[1])
        elif width > math.ceil(longest / MULTIPLE) * MULTIPLE:
            cause = "the batch is padded beyond its longest review: to one length for all batches"
            difference = ("collator.length", cause, f"{width} tokens", f"{longest} tokens")
        else:
            difference = self._mask_difference(tensors.get("inputs.attention_mask"), right["attention_mask"])
        own_labels = tensors.get("inputs.labels")
        if difference is None and own_labels is not None and not torch.equal(own_labels.flatten().long(), labels):
            cause = "the labels are not those of the batch's reviews"
            difference = ("collator.labels", cause, str(own_labels.flatten().tolist()), str(labels.tolist()))
        return {**right, "labels": labels}, difference

    def _mask_difference(self, mask: torch.Tensor | None, right: torch.Tensor) -> Difference | None:
        expected_text = "1 for every token of a review, 0 for padding"
        if mask is None:
            if right.all():
                return None
            cause = "the attention mask is not passed to the model: padding counts as words"
            return "forward.no_mask", cause, "no mask", expected_text
        if mask.shape == right.shape and torch.equal(mask.bool(), right.bool()):
            return None
        cause = "the attention mask is wrong"
        if mask.shape == right.shape and mask.bool().all():
            cause += ": all ones, so padding counts as words"
        elif mask.shape == right.shape and torch.equal(mask.bool(), ~right.bool()):
            cause += ": inverted, so only padding counts"
        return "forward.mask", cause, str(mask.flatten().tolist()[:8]), expected_text

    def _padded(self, tokens: Sequence[tuple[int, ...]], width: int) -> dict[str, torch.Tensor]:
        ids = torch.tensor([[*row, *[self._pad] * (width - len(row))] for row in tokens])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in tokens])
        return {"input_ids": ids, "attention_mask": mask}

    def _truncated(self, row: tuple[int, ...]) -> int | None:
        """The review that begins with these tokens, if there is only one."""
        if len(row) < 4:
            return None
        matches = [number for number, tokens in enumerate(self._tokens) if tokens[: len(row) - 1] == row[:-1]]
        return matches[0] if len(matches) == 1 else None
