"""When a training stops because its evaluations no longer improve."""

from __future__ import annotations

from shared.config import RunConfig


def stops_early(log_history: list, config: RunConfig) -> bool:
    """Whether the last evaluations, as many as the patience, were not better than the best one before them.

    As `EarlyStoppingCallback` of transformers counts them: one that is equal is no better.
    """
    name = f"eval_{config.metric_for_best_model or 'loss'}"
    values = [line[name] for line in log_history if name in line]
    if not values or config.early_stopping_patience is None:
        return False
    best = max(values) if config.metric_for_best_model == "accuracy" else min(values)
    return len(values) - 1 - values.index(best) >= config.early_stopping_patience
