"""Anyone's own Trainer script: which loop it is, as code, and whether that loop is it."""
