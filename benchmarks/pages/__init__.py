"""The two pages as text: what their lines do, folded to some dials, side by side, and as scripts of their own."""
