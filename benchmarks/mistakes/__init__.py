"""What people get wrong in a training loop, what each mistake costs, and the way from one to none."""
