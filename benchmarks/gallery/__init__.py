"""Lessons that run: the loops made to show something, and the pictures of it."""
