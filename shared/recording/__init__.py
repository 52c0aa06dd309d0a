"""What is written down of a run while it goes."""
