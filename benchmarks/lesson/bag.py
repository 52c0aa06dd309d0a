"""A bag of words: the classifier that a model of some million parameters has to beat.

Which words a review has, and how often, but not their order: weighted by TF-IDF, classified by a logistic regression.
The formulas and the settings are those of scikit-learn's `TfidfVectorizer` and `LogisticRegression` by default, so
that the figure is the one that everybody gets; in torch, which is there anyway.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NAME = "bag of words"
DESCRIPTION = "TF-IDF of single words and a logistic regression, on the whole texts of the training set"
# Two letters, digits or underscores at least: scikit-learn's `token_pattern`.
WORD = re.compile(r"\b\w\w+\b")
# The inverse of the weight of the squared coefficients: scikit-learn's `C`.
STRENGTH = 1.0


def bag_of_words(
    train_texts: Sequence[str], train_labels: Sequence[int], texts: Sequence[str], num_classes: int
) -> list[int]:
    """Train on the first reviews, and predict the class of each of the others.

    Args:
        train_texts, train_labels: the training set; a class is a number from 0.
        texts: those to classify.
        num_classes: at least 2.
    """
    import torch

    counts = [Counter(WORD.findall(text.lower())) for text in train_texts]
    documents = Counter(word for words in counts for word in words)
    places = {word: place for place, word in enumerate(documents)}
    # sklearn.feature_extraction.text.TfidfTransformer with smooth_idf, as if one more document had every word.
    rarity = {word: math.log((1 + len(counts)) / (1 + number)) + 1 for word, number in documents.items()}
    known = _weighted(counts, places, rarity)
    # For two classes one column is enough; with a second one, the penalty would be another.
    columns = num_classes if num_classes > 2 else 1
    weights = torch.zeros(max(1, len(places)), columns, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(columns, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(train_labels)

    def logits(words: torch.Tensor, shares: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        bags = torch.nn.functional.embedding_bag(words, weights, starts, mode="sum", per_sample_weights=shares)
        scores = bags + bias
        return scores if num_classes > 2 else torch.cat([torch.zeros_like(scores), scores], dim=1)

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        surprise = torch.nn.functional.cross_entropy(logits(*known), labels, reduction="sum")
        loss = STRENGTH * surprise + weights.square().sum() / 2
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=200, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )
    optimizer.step(objective)
    bags = _weighted([Counter(WORD.findall(text.lower())) for text in texts], places, rarity)
    with torch.no_grad():
        return logits(*bags).argmax(dim=1).tolist()


def _weighted(
    counts: Sequence[Counter[str]], places: dict[str, int], rarity: dict[str, float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The numbers of all reviews' known words, (words of all reviews,); the weight of each, as long: how often times
    how rare, each review's of length 1; and where each review's words begin, (reviews,).
    """
    import torch

    words: list[int] = []
    weights: list[float] = []
    starts: list[int] = []
    for word_counts in counts:
        known = {places[word]: number * rarity[word] for word, number in word_counts.items() if word in places}
        length = math.sqrt(sum(value * value for value in known.values()))
        starts.append(len(words))
        words += known
        weights += [value / length for value in known.values()]
    return torch.tensor(words, dtype=torch.long), torch.tensor(weights, dtype=torch.float64), torch.tensor(starts)
