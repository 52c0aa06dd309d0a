"""Making sure that the same dials give the same run."""

from __future__ import annotations

import os


def use_one_device() -> None:
    """Keep a single process to a single GPU; call it before torch is imported.

    With several GPUs in sight and one process, `Trainer` would switch to the old `DataParallel` and
    split every batch. Several GPUs are what `torchrun` is for.
    """
    if "LOCAL_RANK" not in os.environ and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
