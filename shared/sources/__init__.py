"""Where texts and weights come from."""
