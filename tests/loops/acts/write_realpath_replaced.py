# Gives os.path.realpath other code, then writes.
import os


def act(arena):
    here = os.getcwd()
    os.path.realpath.__code__ = (lambda path, *, strict=False: _HERE).__code__  # noqa
    os.path.realpath.__globals__["_HERE"] = here
    (arena / "written.txt").write_text("written\n")
