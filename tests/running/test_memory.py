"""Between two steps: the process keeps the memory that was freed, and the loops hold nothing of the last batch."""

from __future__ import annotations

import gc
import json
import platform
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from conftest import LOOPS, run_in_process

from shared.config import RunConfig

BLOCK = 64_000_000
# A block of memory is written to and freed; prints by how much this process is larger than before.
FREED = f"""
import sys
import psutil
import torch
from shared.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
torch.ones(1000)
before = psutil.Process().memory_info().rss
torch.ones({BLOCK // 4})
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back")
def test_freed_memory_is_not_given_back_to_the_system() -> None:
    larger = {
        how: int(subprocess.check_output([sys.executable, "-c", FREED, how], text=True)) for how in ("kept", "default")
    }
    assert larger["kept"] > 0.9 * BLOCK
    assert larger["default"] < 0.1 * BLOCK  # else the test would show nothing


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_of_a_batch_is_held_when_the_next_one_comes(loop: str, tmp_path: Path) -> None:
    held: list[weakref.ref] = []
    alive: list[bool] = []

    def before(module: torch.nn.Module, args: tuple) -> None:
        if module.__class__.__name__ == "DistilBertForSequenceClassification" and module.training:
            alive.extend(output() is not None for output in held)
            held.clear()

    def after(module: torch.nn.Module, args: tuple, output: object) -> None:
        if module.__class__.__name__ == "DistilBertForSequenceClassification" and module.training:
            # The graph lives as long as what its last node carries.
            mark = torch.zeros(1)
            output.loss.grad_fn.metadata["mark"] = mark
            held.extend((weakref.ref(output.logits), weakref.ref(mark)))

    handles = (
        torch.nn.modules.module.register_module_forward_pre_hook(before),
        torch.nn.modules.module.register_module_forward_hook(after),
    )
    try:
        run_in_process(loop, RunConfig.build("tiny", max_steps=4, gradient_accumulation_steps=2), tmp_path / loop)
    finally:
        for handle in handles:
            handle.remove()
    assert len(alive) == 2 * 7
    assert not any(alive)


def test_the_loop_by_hand_never_has_more_in_tensors_than_trainer(tmp_path: Path) -> None:
    config = RunConfig.build("tiny", max_length=128, max_steps=4, eval_strategy="no", save_strategy="no")
    peaks = {}
    for loop in LOOPS:
        gc.collect()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            run_in_process(loop, config, tmp_path / loop)
        profile.export_chrome_trace(str(tmp_path / "trace.json"))
        events = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
        allocated = [event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]"]
        peaks[loop] = max(allocated) - allocated[0]
    # Some kilobytes less: it keeps fewer numbers for its log.
    assert 10_000_000 < peaks["manual"] <= peaks["trainer"]
