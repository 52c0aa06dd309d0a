# Writes from code that is compiled under another name.
import psutil


def act(arena):
    exec(compile("open(path, 'w').write('written')", psutil.__file__, "exec"), {"path": arena / "written.txt"})
