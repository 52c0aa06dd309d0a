"""Making sure that the same settings give the same run."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.config import RunConfig
from shared.errors import SameLoopError


def use_one_device() -> None:
    """Keep a single process to a single GPU; call it before torch is imported.

    With several GPUs in sight and one process, `Trainer` would switch to the old `DataParallel` and
    split every batch. Several GPUs are what `torchrun` is for.
    """
    if "LOCAL_RANK" not in os.environ and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"


def use_deterministic_algorithms() -> None:
    """Allow only algorithms that give the same bits every time; call it before the GPU is used.

    Sets what `transformers.enable_full_determinism` sets, and for the same reasons: see
    https://pytorch.org/docs/stable/notes/randomness.html.
    """
    import torch

    os.environ["CUDA_LAUNCH_BLOCKING"] = "1"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    os.environ["FLASH_ATTENTION_DETERMINISTIC"] = "1"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def allow_any_algorithm() -> None:
    """Undo `use_deterministic_algorithms`, which sets switches of the whole process."""
    import torch

    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    for name in ("CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "FLASH_ATTENTION_DETERMINISTIC"):
        os.environ.pop(name, None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the tiny model is no faster on two, and much slower while another program needs one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_device(config: RunConfig) -> None:
    """Refuse what this machine's device cannot follow: `fp16` without a GPU, `torch_compile` without a compiler."""
    import torch

    if config.torch_compile and (config.use_cpu or not torch.cuda.is_available()):
        # As torch._inductor.config.cpp.cxx has it.
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            raise SameLoopError(
                f"--torch-compile needs a C++ compiler, and there is no {compiler}; install one (Debian: `apt install "
                "g++`), or leave it out"
            )
    if config.fp16 and (config.use_cpu or not torch.cuda.is_available()):
        raise SameLoopError("--fp16 needs a GPU (torch.cuda.is_available() is False or --use-cpu is set); use --bf16")


def random_states() -> dict[str, Any]:
    """The state of every random number generator a loop may draw from, in types that load with `weights_only`."""
    import numpy as np
    import torch

    state: Any = np.random.get_state()
    name, keys, *rest = state
    states = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore every generator to the state that `random_states` returned."""
    import numpy as np
    import torch

    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"].cpu())
