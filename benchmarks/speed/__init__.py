"""How long the loops take, and what each setting gains."""
