"""How long the loops take, and what each dial buys."""
