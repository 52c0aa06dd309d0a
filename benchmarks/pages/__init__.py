"""The two loops as text: what their lines do, specialized for some settings, side by side, and as scripts."""
