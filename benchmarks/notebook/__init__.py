"""Behind `import sameloop`: commands that run in processes of their own, and results that a notebook displays."""
