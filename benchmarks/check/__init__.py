"""Judge somebody's own training loop: run it in its own process, record it, and compare each step with the right one.

`job` makes what a loop is called with, `watch` records its run, and `recording` is the file format. The loop runs in
`child`, inside the `sandbox`; `runner` starts that process and limits it. `replay` computes the right step, `judge`
compares the recording with it, `sentences` says what is wrong, `rubric` holds the result, and `formats` writes it.
"""
