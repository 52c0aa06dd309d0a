"""What is wrong with a loop: causes, and the first tensor that differs."""
