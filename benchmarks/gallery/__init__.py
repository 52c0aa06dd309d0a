"""Mistakes and repairs to learn from: what each looks like, what sees it, and what it costs."""
