"""Run in a child process: a script up to its door, and behind it train one side, or write the script's loop."""

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

from benchmarks.port.door import Capture, run_to_the_door, script_error
from benchmarks.port.side import TOKENIZER_FILE, Script
from shared.errors import SameLoopError, ScriptError
from shared.files import write_json
from shared.progress import announce
from shared.running.binding import PLAIN_PARAMETERS
from shared.running.folder import WEIGHTS_FILE
from shared.running.log import checked_log
from shared.running.script import LoopScript, own_script

if TYPE_CHECKING:
    from benchmarks.port.job import Training, Watch

CHECKPOINTS = "checkpoints"


@click.command(hidden=True)
@click.argument("task_json")
@click.option("--debug", is_flag=True)
def port_side(task_json: str, debug: bool) -> None:
    """The process that `sameloop compare --trainer` and `sameloop eject FILE` start."""
    task = json.loads(task_json)
    script = Script(Path(task["script"]), tuple(task["arguments"]))
    actions = {"trainer": _train_by_trainer, "loop": _train_by_loop, "eject": _eject}

    def behind(captured: Capture) -> None:
        if not hasattr(captured.trainer.train_dataset, "__len__"):
            problem = (
                "has no train_dataset" if captured.trainer.train_dataset is None else "trains on a stream of examples"
            )
            raise ScriptError(
                f"{script.file.name}, line {captured.trained_at}: its Trainer {problem}; give it one with a length"
            )
        announce(f"its Trainer.train is called in line {captured.trained_at}; the lines after it are not run")
        tokenizer = getattr(captured.trainer.processing_class, "backend_tokenizer", None)
        if tokenizer is not None and task["does"] != "eject":
            # The other side takes its words from here, also where this one is not run to its end.
            tokenizer.save(str(Path(task["folder"]) / TOKENIZER_FILE))
        actions[task["does"]](captured, script, task)

    announce(f"running {script.file} up to its first Trainer.train")
    words = task.get("words")
    run_to_the_door(script, behind, words and Path(words))


def _train_by_trainer(captured: Capture, script: Script, task: dict[str, Any]) -> None:
    """The script's own Trainer, watched."""
    from benchmarks.port.job import Training
    from benchmarks.port.probe import probe
    from benchmarks.port.settings import Settings

    trainer, folder = captured.trainer, Path(task["folder"])
    # As the other side does: a random generator of the script's own cannot be reset, so both sides must use it alike.
    settings = Settings(captured, probe(trainer))
    loop_script = own_script(Path(captured.file), is_loop=False)
    loop_script.keep(folder)

    def train(watch: Watch) -> list[dict[str, Any]]:
        if trainer.model_init is None:
            watch(trainer.model)
        # The script's own output folder stays untouched.
        trainer.args.output_dir, trainer.args.push_to_hub = str(folder / CHECKPOINTS), False
        (folder / CHECKPOINTS).mkdir()
        trainer._sameloop_train(trainer)
        return _plain(trainer.state.log_history)

    def explained(error: BaseException) -> SameLoopError:
        return script_error(script, captured.file, error, "fails while its Trainer trains")

    _train_watched(captured, task, Training(loop_script, sys.modules["__main__"], train, explained, settings))


def _train_by_loop(captured: Capture, script: Script, task: dict[str, Any]) -> None:
    """A loop with what the script has built: the user's file, or the loop that is written for the script now."""
    from benchmarks.port.job import Training
    from benchmarks.port.loop import Loop
    from benchmarks.port.settings import Settings

    trainer, folder = captured.trainer, Path(task["folder"])
    loop = Loop(Settings.of(captured))
    if task["loop"] is None:
        if loop.settings.refusals:
            raise SameLoopError(
                f"{script.file.name}: {'; '.join(map(str, loop.settings.refusals))}. `sameloop eject {script.file} -o "
                "my_loop.py` writes the loop without it; put it in, and compare with --loop my_loop.py"
            )
        from benchmarks.port.script import script_with_loop

        file = folder / f"{script.file.stem}_loop.py"
        file.write_text(script_with_loop(loop, script, file.name)[0], encoding="utf-8")
        announce(f"the loop that equals it: {file}")
        loop_script = own_script(file)
    else:
        loop_script = own_script(Path(task["loop"]))
    loop_script.keep(folder)
    with loop_script.loaded() as module:
        _bind_script_names(module, captured.namespace)
        function = getattr(module, "train", None)
        if not callable(function):
            raise ScriptError(f"{loop_script.name} binds no function `train`")

        def train(watch: Watch) -> list[dict[str, Any]]:
            watch(trainer.model)
            return _plain(checked_log(function(**_bind(function, loop.call(), captured, loop_script)), loop_script))

        _train_watched(captured, task, Training(loop_script, module, train, loop_script.mistake, loop.settings))


def _eject(captured: Capture, script: Script, task: dict[str, Any]) -> None:
    from benchmarks.port.loop import Loop
    from benchmarks.port.script import script_with_loop
    from benchmarks.port.settings import Settings

    source, notes = script_with_loop(Loop(Settings.of(captured)), script, task["name"])
    write_json(Path(task["folder"]) / "ejected.json", {"source": source, "notes": notes})


def _train_watched(captured: Capture, task: dict[str, Any], training: Training) -> None:
    """Train while the recorder or the x-ray's tracer watches; what it records is left in the side's folder."""
    from benchmarks.port.job import header_of

    header = header_of(task, training.settings)
    try:
        if "until_step" in task:
            from benchmarks.port.xray import trace_side

            trace_side(task, header, training, type(captured.trainer.model))
        else:
            _train_recorded(captured, task, header, training)
    except SameLoopError:
        raise
    except Exception as error:
        if (mistake := training.explained(error)) is None:
            raise
        raise mistake from error


def _train_recorded(captured: Capture, task: dict[str, Any], header: dict[str, Any], training: Training) -> None:
    from safetensors.torch import save_model

    from shared.recording.detail import DetailTaken
    from shared.recording.recorder import FlightRecorder

    trainer, folder = captured.trainer, Path(task["folder"])
    started = time.perf_counter()
    with suppress(DetailTaken), FlightRecorder(folder, header, detail_step=task.get("detail_step")) as recorder:
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
    """A log's lines with their numbers and words alone; a metric that is a list is not compared."""
    return [
        {name: value for name, value in line.items() if isinstance(value, (bool, int, float, str, type(None)))}
        for line in log_history
    ]


def _bind(function: Any, values: dict[str, Any], captured: Capture, loop_script: LoopScript) -> dict[str, Any]:
    """The arguments that `train` is called with: by its parameters' names, or the five plain ones by position.

    Raises:
        ScriptError: it requires something that the script has not built.
    """
    trainer, order = captured.trainer, PLAIN_PARAMETERS
    known = {**values, "config": trainer.args, "processing_class": trainer.processing_class}
    known |= {"data_collator": trainer.data_collator, "compute_metrics": trainer.compute_metrics}
    if "remove_columns" not in loop_script.source:
        # A loop that does not remove columns as Trainer does gets only the columns that the model takes.
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
                f"{loop_script.name}: train requires {name}, which the script has not built; it has {', '.join(known)}"
            )
    return bound


def _without_unused(trainer: Any, data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_unused(trainer, dataset) for name, dataset in data.items()}
    return trainer._remove_unused_columns(data) if hasattr(data, "remove_columns") else data


def _bind_script_names(module: ModuleType, namespace: dict[str, Any]) -> None:
    """Bind the script's names that a loop's functions read and that its file binds only when it is run itself."""
    for name in _globals_read(module):
        if not hasattr(module, name) and not hasattr(builtins, name) and name in namespace:
            setattr(module, name, namespace[name])


def _globals_read(module: ModuleType) -> set[str]:
    def names(code: CodeType) -> Iterator[str]:
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from names(constant)

    functions = [value for value in vars(module).values() if hasattr(value, "__code__")]
    own = (inspect.unwrap(value) for value in functions if value.__module__ == module.__name__)
    return {name for function in own for name in names(function.__code__)}
