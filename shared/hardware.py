"""What this machine is, and whether it computes in bfloat16, without importing torch, which takes seconds.

Autocast runs everywhere. Where the hardware has no such instruction, each product is brought to float32 and back, and
a step takes longer than without. torch's own check of a processor (`_is_mkldnn_bf16_supported`) returns True there,
too, and the checks for the instruction itself are private. Linux lists it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from shared.starting.children import function_argv
from shared.starting.launch import output_of

CPUINFO = Path("/proc/cpuinfo")
# As Linux calls them: Intel's from Cooper Lake and Sapphire Rapids on, AMD's from Zen 4 on.
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
# Where a GPU's driver is: NVIDIA's, AMD's, that of Windows under WSL.
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


class Bf16(NamedTuple):
    """Whether matrix products in bfloat16 run in hardware here, and the evidence for it."""

    in_hardware: bool
    why: str


@cache
def bf16(use_cpu: bool = False) -> Bf16:
    """Whether the device that a run would have computes in bfloat16."""
    gpu = None if use_cpu else _gpu()
    if gpu is not None:
        name, has_it = gpu
        return Bf16(has_it, f"{name} {'has' if has_it else 'does not have'} it")
    if platform.machine() not in ("x86_64", "AMD64"):
        return Bf16(False, f"on {platform.machine()} it was not measured")
    flags = _cpuinfo("flags")
    if flags is None:
        return Bf16(False, "this system does not list what the processor has")
    names = [instruction for instruction in BF16_INSTRUCTIONS if instruction in flags.split()]
    return Bf16(bool(names), f"the processor has {' and '.join(names) or f'no {BF16_INSTRUCTIONS[0]} or amx_bf16'}")


def processor_name() -> str:
    """As the system calls it: `Intel(R) Xeon(R) Processor @ 2.50GHz`."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo(name: str) -> str | None:
    """The first processor's line of this name; None where the system has no such file or line."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)
    return match and match[1].strip()


def _gpu() -> tuple[str, bool] | None:
    """The GPU that torch would use and whether it has bfloat16; None: torch would use none.

    Only torch knows. It is imported only where there is a driver, and in a process of its own: once torch has looked
    at the GPUs of this process, the choice among them can no longer be changed.
    """
    if not any(Path(driver).exists() for driver in DRIVERS):
        return None
    try:
        return json.loads(output_of(function_argv(__name__, "say_gpu")).splitlines()[-1])
    except (IndexError, ValueError):
        return None


def say_gpu(arguments: Sequence[str]) -> int:
    """The command of that process: print the GPU's name and whether it has bfloat16, or null; the exit status."""
    import torch

    gpu = None
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False)
    json.dump(gpu, sys.stdout)
    return 0
