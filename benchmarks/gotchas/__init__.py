"""What the fine-tuning tutorial warns of, or should: each of its gotchas, run on real reviews."""
