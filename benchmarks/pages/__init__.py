"""The two loops as text: what their lines do, specialized for settings, side by side, and as scripts."""
