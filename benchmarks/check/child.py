"""The process that a checked loop runs in: it makes the job, restricts itself, and calls the loop."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks.check import gaps
from benchmarks.check.job import Job, for_a_script, job_config
from benchmarks.check.recording import RecordingWriter
from benchmarks.check.sandbox import limit_memory, lock
from benchmarks.check.walls import WORLD_MB, Walls, begin, enter, readable
from shared.errors import SameLoopError, shown
from shared.running.log import checked_log
from shared.running.script import LoopScript, own_script, train_of

# The number of characters of a traceback that are kept.
LONGEST_TRACEBACK = 6000


def main(arguments: Sequence[str]) -> int:
    """Run a loop and write its recording.

    Args:
        arguments: one, JSON: `file`, `settings`, `number` (of the recording, an open file), `memory_mb`, `walls` (the
            available ones) and `root` (an empty folder for the new root).
    """
    options = json.loads(arguments[0])
    walls = Walls(*options["walls"])
    writing = begin(walls)
    sys.dont_write_bytecode = True
    # The server that this process was forked from may have set it already.
    tempfile.tempdir = None
    # Nothing that is printed is lost, however the process ends.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]

    import torch

    from benchmarks.check.job import make_job

    torch.set_num_threads(1)
    recording = RecordingWriter(os.fdopen(options["number"], "wb", buffering=0))
    job = make_job(job_config(**options["settings"]))
    folder = Path.cwd()
    try:
        script = own_script(Path(options["file"]))
    except SameLoopError as error:
        recording.write("raised", {"line": str(error), "traceback": "", "type": type(error).__name__})
        return 0
    gc.collect()
    may_read = readable(script.paths.values())
    enter(walls, writing, Path(options["root"]), folder, may_read)
    recording.write("begin", {"walls": walls._asdict()})
    limit_memory(options["memory_mb"])
    # From here on, refusals that are recorded are the loop's own.
    lock(folder, may_read, script.paths.values(), lambda text: recording.write("refused", {"what": shown(text, 160)}))
    gc.freeze()  # No object so far is garbage: a collection then looks through the loop's own objects only.
    record(script, job, recording, folder)
    if not walls.namespaces and os.statvfs(folder).f_bavail == 0:
        recording.write("refused", {"what": f"it tried to write more than {WORLD_MB} MB"})
    return 0


def record(script: LoopScript, job: Job, recording: RecordingWriter, folder: Path) -> None:
    """Call a script's `train` with the job, watch it, and record what it returned or raised.

    Args:
        script: the loop.
        job: the arguments that it is called with.
        recording: receives the events.
        folder: where a script that loads its model by itself finds it.
    """
    from benchmarks.check.watch import Watch

    recording.write("gaps", {"open": gaps.open_gaps(script.source)})
    script = gaps.fill_gaps(script)
    try:
        with script.loaded() as module:
            train, is_plain = train_of(module, script)
            if is_plain:
                with Watch(recording.write, job.model) as watch:
                    returned = train(*job)
                    watch.finish()
            elif script.is_own:
                raise SameLoopError(
                    "a checked loop is called with the model and the data: "
                    "train(model, tokenizer, train_dataset, eval_dataset, config)"
                )
            else:
                config = for_a_script(job, folder / "model")
                with Watch(recording.write) as watch:
                    returned = train(config, folder / "run", None)
                    watch.finish()
            log = checked_log(returned, script)
    except BaseException as error:
        text = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
        mine = str(error) if isinstance(error, SameLoopError) else script.mistake(error)
        line = str(mine or f"{type(error).__name__}: {shown(error, 200)}")
        recording.write("raised", {"line": line, "traceback": text, "type": type(error).__name__})
    else:
        recording.write("used", {"phases": sorted(gaps.used_phases)})
        recording.write("returned", {"log": log})
