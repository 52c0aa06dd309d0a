"""How long the loops take, and what each setting buys."""
