"""What `import sameloop` gives: commands that run apart, and results that show themselves in a notebook."""
