"""The process that a checked loop runs in: started by `runner`, it makes the job, locks itself up, and calls the loop."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.check.sandbox import leave_the_network, limit_memory, lock
from shared.errors import SameLoopError, shown
from shared.page import Page, checked_log, own_page, package_page, train_of

# So much of a traceback is kept.
LONGEST_TRACEBACK = 6000


def main(arguments: Sequence[str]) -> int:
    """Run a loop and leave its tape.

    Args:
        arguments: one, JSON: `file`, or a page of the package with `pieces` replaced; `dials`, `tape` (an open file's
            number), `memory_mb`.
    """
    given = json.loads(arguments[0])
    sys.dont_write_bytecode = True
    is_alone = leave_the_network()

    import torch

    from benchmarks.check.job import for_a_page, job_config, make_job
    from benchmarks.check.tape import TapeWriter
    from benchmarks.check.watch import Watch

    torch.set_num_threads(1)
    tape = TapeWriter(os.fdopen(given["tape"], "wb", buffering=0))
    job = make_job(job_config(**given["dials"]))
    folder = Path.cwd()
    try:
        page = page_of(given)
    except SameLoopError as error:
        tape.write("raised", {"line": str(error), "traceback": "", "type": type(error).__name__})
        return 0
    gc.collect()
    gc.freeze()  # What is there by now is nobody's garbage: a collection looks through the loop's own only.
    tape.write("begin", {"network": "none" if is_alone else "refused"})
    limit_memory(given["memory_mb"])
    # What is written from here on is what the loop has done.
    lock(folder, page.paths.values(), lambda what: tape.write("refused", {"what": shown(what, 160)}))
    try:
        with page.loaded() as module:
            train, is_plain = train_of(module, page)
            if is_plain:
                with Watch(tape.write, job.model) as watch:
                    returned = train(*job)
                    watch.finish()
            elif page.is_own and not given.get("pieces"):
                raise SameLoopError(
                    "a loop that is checked is called with the model and the data: "
                    "train(model, tokenizer, train_dataset, eval_dataset, config)"
                )
            else:
                config = for_a_page(job, folder / "model")
                with Watch(tape.write) as watch:
                    returned = train(config, folder / "run", None)
                    watch.finish()
            log = checked_log(returned, page)
    except BaseException as error:
        text = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
        mine = str(error) if isinstance(error, SameLoopError) else page.mistake(error)
        line = str(mine or f"{type(error).__name__}: {shown(error, 200)}")
        tape.write("raised", {"line": line, "traceback": text, "type": type(error).__name__})
    else:
        tape.write("returned", {"log": log})
    return 0


def page_of(given: dict[str, Any]) -> Page:
    """The page to run: a user's file, or the package's with pieces replaced.

    Raises:
        SameLoopError: the file cannot be a page.
    """
    page = package_page("manual") if given["file"] is None else own_page(Path(given["file"]))
    for right, wrong in given.get("pieces", ()):
        page = page.edited(right, wrong)
    return page
