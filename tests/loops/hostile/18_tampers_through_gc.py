# HOSTILE: walks over everything alive and bends what belongs to the checker: failures cleared, verdicts set to pass.
import gc
import sys
import types

OURS = ("benchmarks", "shared", "sameloop", "checker", "check", "__main__")
ME = __name__


def is_theirs(name):
    return isinstance(name, str) and name != ME and name.partition(".")[0] in OURS


def bend(thing):
    for name in [n for n in dir(thing) if not n.startswith("__")]:
        try:
            value = getattr(thing, name)
            if isinstance(value, bool):
                object.__setattr__(thing, name, True)
            elif isinstance(value, (list, set, dict)) and any(w in name for w in ("fail", "problem", "finding", "error", "wrong")):
                value.clear()
            elif isinstance(value, float):
                object.__setattr__(thing, name, float("inf"))
        except BaseException:
            pass


def train(model, tokenizer, train_dataset, eval_dataset, config):
    for name, module in list(sys.modules.items()):
        if is_theirs(name) and isinstance(module, types.ModuleType):
            for key, value in list(vars(module).items()):
                if isinstance(value, types.FunctionType) and any(w in key.lower() for w in ("check", "compare", "verdict", "judge", "differ")):
                    setattr(module, key, lambda *a, **k: [])
                elif isinstance(value, float) and not key.startswith("__"):
                    setattr(module, key, float("inf"))  # tolerances
    for thing in gc.get_objects():
        try:
            if is_theirs(type(thing).__module__) and thing is not config:
                bend(thing)
        except BaseException:
            pass
    frame = sys._getframe(1)
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(value, list) and value and isinstance(value[0], (str, tuple, dict)) and is_theirs(frame.f_globals.get("__name__")):
                try:
                    value.clear()
                except BaseException:
                    pass
        frame = frame.f_back
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
