"""What people get wrong in a training loop, what each mistake costs, and how to fix it."""
