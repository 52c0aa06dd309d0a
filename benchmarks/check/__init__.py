"""Judging somebody's own training loop: it runs apart, is watched, and each step is held against the right one.

`job` is what a loop is given, `watch` what is kept of its run, `recording` the file in between, `child` and `sandbox`
the process it runs in, `runner` who starts and limits that. `replay` does a step as it should have been, `judge` goes
through the recording with it, `rubric` is what comes of it, `formats` writes that down.
"""
