# Writes from code that is compiled under another name.
import torch


def act(arena):
    exec(compile("open(path, 'w').write('written')", torch.__file__, "exec"), {"path": arena / "written.txt"})
