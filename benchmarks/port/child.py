"""What runs in a process of its own: a script up to its door, and behind it one side, or the writing of its loop."""

from __future__ import annotations

import builtins
import inspect
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import click

from benchmarks.port.door import Captured, failed, run_to_the_door
from benchmarks.port.side import Script
from shared.errors import SameLoopError, ScriptError
from shared.files import write_json
from shared.progress import announce
from shared.running.binding import PLAIN_PARAMETERS
from shared.running.folder import WEIGHTS_FILE
from shared.running.script import LoopScript, checked_log, own_script

if TYPE_CHECKING:
    from benchmarks.port.job import Training, Watch

CHECKPOINTS = "checkpoints"


@click.command(hidden=True)
@click.argument("told")
@click.option("--debug", is_flag=True)
def port_side(told: str, debug: bool) -> None:
    """What `sameloop compare --trainer` and `sameloop eject FILE` start."""
    given = json.loads(told)
    script = Script(Path(given["script"]), tuple(given["arguments"]))
    what_is_done = {"trainer": _train_by_trainer, "loop": _train_by_loop, "eject": _eject}

    def behind(captured: Captured) -> None:
        if not hasattr(captured.trainer.train_dataset, "__len__"):
            what = (
                "has no train_dataset" if captured.trainer.train_dataset is None else "trains on a stream of examples"
            )
            raise ScriptError(
                f"{script.file.name}, line {captured.trained_at}: its Trainer {what}; give it one with a length"
            )
        announce(f"its Trainer.train is called in line {captured.trained_at}; what comes after that is not run")
        what_is_done[given["does"]](captured, script, given)

    announce(f"running {script.file} up to its first Trainer.train")
    words = given.get("words")
    run_to_the_door(script, behind, words and Path(words))


def _train_by_trainer(captured: Captured, script: Script, given: dict[str, Any]) -> None:
    """The script's own Trainer, watched."""
    from benchmarks.port.job import Training
    from benchmarks.port.probe import probe

    trainer, folder = captured.trainer, Path(given["folder"])
    # As the other side does: a generator of the script's own, which nobody can put back, is as far on in both.
    probe(trainer)
    loop_script = own_script(Path(captured.file), is_loop=False)
    loop_script.keep(folder)

    def train(watch: Watch) -> list[dict[str, Any]]:
        if trainer.model_init is None:
            watch(trainer.model)
        # Not to where the script has its own.
        trainer.args.output_dir, trainer.args.push_to_hub = str(folder / CHECKPOINTS), False
        (folder / CHECKPOINTS).mkdir()
        trainer._sameloop_train(trainer)
        return _plain(trainer.state.log_history)

    def explained(error: BaseException) -> SameLoopError:
        return failed(script, captured.file, error, "fails while its Trainer trains")

    _watched(captured, given, Training(loop_script, sys.modules["__main__"], train, explained))


def _train_by_loop(captured: Captured, script: Script, given: dict[str, Any]) -> None:
    """A loop with what the script has built: a file's, or the one that is written for it now."""
    from benchmarks.port.job import Training
    from benchmarks.port.loop import Loop
    from benchmarks.port.settings import Settings

    trainer, folder = captured.trainer, Path(given["folder"])
    loop = Loop(Settings.of(captured))
    if given["loop"] is None:
        if loop.settings.refusals:
            raise SameLoopError(
                f"{script.file.name}: {'; '.join(map(str, loop.settings.refusals))}. `sameloop eject {script.file} -o "
                "my_loop.py` writes the loop without it; put it in, and compare with --loop my_loop.py"
            )
        from benchmarks.port.script import written

        file = folder / f"{script.file.stem}_loop.py"
        file.write_text(written(loop, script, file.name)[0], encoding="utf-8")
        announce(f"the loop that equals it: {file}")
        loop_script = own_script(file)
    else:
        loop_script = own_script(Path(given["loop"]))
    loop_script.keep(folder)
    with loop_script.loaded() as module:
        _complete(module, captured.namespace)
        function = getattr(module, "train", None)
        if not callable(function):
            raise ScriptError(f"{loop_script.name} binds no function `train`")

        def train(watch: Watch) -> list[dict[str, Any]]:
            watch(trainer.model)
            return _plain(checked_log(function(**_bound(function, loop.call(), captured, loop_script)), loop_script))

        _watched(captured, given, Training(loop_script, module, train, loop_script.mistake, loop.settings))


def _eject(captured: Captured, script: Script, given: dict[str, Any]) -> None:
    from benchmarks.port.loop import Loop
    from benchmarks.port.script import written
    from benchmarks.port.settings import Settings

    source, notes = written(Loop(Settings.of(captured)), script, given["name"])
    write_json(Path(given["folder"]) / "ejected.json", {"source": source, "notes": notes})


def _watched(captured: Captured, given: dict[str, Any], training: Training) -> None:
    """Train while the recorder, or the x-ray's tracer, looks on; what it sees is left in the side's folder."""
    from benchmarks.port.job import header_of

    header = header_of(captured, given, training.settings)
    try:
        if "until_step" in given:
            from benchmarks.port.xray import traced

            traced(given, header, training, type(captured.trainer.model))
        else:
            _recorded(captured, given, header, training)
    except SameLoopError:
        raise
    except Exception as error:
        if (mistake := training.explained(error)) is None:
            raise
        raise mistake from error


def _recorded(captured: Captured, given: dict[str, Any], header: dict[str, Any], training: Training) -> None:
    from safetensors.torch import save_model

    from shared.recording.detail import DetailTaken
    from shared.recording.recorder import FlightRecorder

    trainer, folder = captured.trainer, Path(given["folder"])
    started = time.perf_counter()
    with suppress(DetailTaken), FlightRecorder(folder, header, detail_step=given.get("detail_step")) as recorder:
        log_history = training.train(recorder.watch)
        recorder.finish(log_history, total_seconds=time.perf_counter() - started)
    if hasattr(trainer.model, "save_pretrained"):
        trainer.model.save_pretrained(folder, max_shard_size="1000GB")
    else:
        save_model(trainer.model, str(folder / WEIGHTS_FILE))
    if hasattr(trainer.processing_class, "save_pretrained"):
        trainer.processing_class.save_pretrained(folder)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _plain(log_history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A log's lines with what JSON has as one number or word; a metric that is a list is not compared."""
    return [
        {name: value for name, value in line.items() if isinstance(value, (bool, int, float, str, type(None)))}
        for line in log_history
    ]


def _bound(function: Any, values: dict[str, Any], captured: Captured, loop_script: LoopScript) -> dict[str, Any]:
    """What `train` is called with: by its parameters' names, or the five plain ones by their places.

    Raises:
        PageError: it wants something that the script has not built.
    """
    trainer, order = captured.trainer, PLAIN_PARAMETERS
    known = {**values, "config": trainer.args, "processing_class": trainer.processing_class}
    known |= {"data_collator": trainer.data_collator, "compute_metrics": trainer.compute_metrics}
    if "remove_columns" not in loop_script.source:
        # A loop that knows nothing of Trainer's ways gets the columns that the model takes.
        for name in ("train_dataset", "eval_dataset"):
            known[name] = _without_unused(trainer, known[name])
    bound = {}
    for place, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if name in known:
            bound[name] = known[name]
        elif place < len(order) and parameter.default is parameter.empty:
            bound[name] = known[order[place]]
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
            raise ScriptError(
                f"{loop_script.name}: train wants {name}, which the script has not built; it has {', '.join(known)}"
            )
    return bound


def _without_unused(trainer: Any, data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_unused(trainer, each) for name, each in data.items()}
    return trainer._remove_unused_columns(data) if hasattr(data, "remove_columns") else data


def _complete(module: ModuleType, namespace: dict[str, Any]) -> None:
    """Give a loop the names that its functions read and its file binds only when it is run itself: the script's."""
    for name in _globals_read(module):
        if not hasattr(module, name) and not hasattr(builtins, name) and name in namespace:
            setattr(module, name, namespace[name])


def _globals_read(module: ModuleType) -> set[str]:
    def names(code: CodeType) -> Iterator[str]:
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from names(constant)

    functions = [each for each in vars(module).values() if hasattr(each, "__code__")]
    return {name for each in functions if each.__module__ == module.__name__ for name in names(each.__code__)}
