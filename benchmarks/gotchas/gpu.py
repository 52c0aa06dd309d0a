"""The GPU that must be turned on: what this machine has, how long a step takes, and the two lines that use it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.gotchas.base import Gotcha, attempt, make_trainer, quiet
from benchmarks.judge.finding import counted
from shared.config import RunConfig, job_name
from shared.progress import announce


@dataclass(frozen=True)
class GpuCheck:
    """The devices that torch finds here, and the time of a step on them.

    Attributes:
        cuda_is_available: what `torch.cuda.is_available()` says.
        device: what torch would train on: `cpu`, `cuda`, `mps`.
        doctor: what `sameloop doctor` says about the device.
        loaded_on: where `from_pretrained` leaves the model.
        trainer_device: where `Trainer` puts it without being told.
        forgotten: the error of a model on the GPU for a batch on the CPU; None if there is no GPU.
        job: the model and the data of a step.
        steps: the number of steps of the whole job.
        seconds: the time of each measured step, by device.
    """

    cuda_is_available: bool
    device: str
    doctor: str
    loaded_on: str
    trainer_device: str
    forgotten: str | None
    job: str
    steps: int
    seconds: dict[str, list[float]]

    @property
    def has_gpu(self) -> bool:
        return self.device != "cpu"


def run(preset: str = "quick", steps: int = 3) -> GpuCheck:
    """Look for a GPU, see what `Trainer` does with it, and time a few steps on each device of this machine.

    A first step is not timed.
    """
    announce("importing torch")
    import torch
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding

    from benchmarks.doctor import device_findings
    from shared.data import load_data
    from shared.model import load_model, load_tokenizer

    config = RunConfig.build(preset)
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = accelerator.type if accelerator is not None else "cpu"
    doctor = next(finding.detail for finding in device_findings() if finding.subject == "device")
    announce(f"timing {steps} steps of `{preset}` on each device of this machine")
    with quiet():
        tokenizer = load_tokenizer(config)
        data = load_data(config, tokenizer)
        model = load_model(config, data.labels)
        loaded_on = model.device.type
        collator = DataCollatorWithPadding(tokenizer)
        loader = DataLoader(data.train_dataset, config.per_device_train_batch_size, collate_fn=collator)
        batches = list(itertools.islice(loader, steps + 1))
        seconds = {name: _timed(model, batches, name) for name in dict.fromkeys(("cpu", device))}
        forgotten = None
        if device != "cpu":
            cpu_batch = batches[0].to("cpu")
            forgotten = attempt(lambda: model.to(device)(**cpu_batch))
            model.to("cpu")
        trainer_device = make_trainer(model, tokenizer, data.train_dataset).model.device.type
        parameters = sum(parameter.numel() for parameter in model.parameters())
    return GpuCheck(
        torch.cuda.is_available(),
        device,
        doctor,
        loaded_on,
        trainer_device,
        forgotten,
        job_name(config, parameters),
        config.total_steps(),
        seconds,
    )


def _timed(model: Any, batches: list[Any], device: str) -> list[float]:
    """Seconds of each training step but the first, which allocates memory."""
    import torch

    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    seconds = []
    for batch in batches:
        started = time.perf_counter()
        model(**batch.to(device)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device != "cpu":
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def printed(check: GpuCheck) -> Iterator[Any]:
    """The devices, the time of a step on each, and who moves what to the GPU."""
    import torch
    from rich.text import Text

    yield f"torch {torch.__version__}: torch.cuda.is_available() is {check.cuda_is_available}"
    if check.has_gpu:
        yield Text(f"there is a GPU here: torch calls it {check.device}", "green")
    else:
        yield Text("there is no GPU here: all that follows was done on the CPU", "yellow")
    yield Text(f"sameloop doctor: {check.doctor}")
    yield "in Colab: Runtime > Change runtime type > a GPU, before the first cell: it restarts the machine"
    yield ""
    for device, seconds in check.seconds.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.3g} to {max(seconds):.3g}"
        yield (
            f"a step on {device}: {middle:.3g} s (median of {counted(len(seconds), 'step')}, {spread}); so "
            f"{check.steps} steps of {check.job} take about {middle * check.steps:.0f} s"
        )
    if check.has_gpu:
        cpu, gpu = (statistics.median(check.seconds[name]) for name in ("cpu", check.device))
        yield f"the CPU takes {cpu / gpu:.1f} times as long"
    yield ""
    yield f"from_pretrained leaves the model on {check.loaded_on}. A manual loop needs two lines:"
    yield Text("  model.to(device)  # once\n  batch.to(device)  # every batch", "bold")
    if check.forgotten:
        yield "the first without the second:"
        yield Text(f"  {check.forgotten}", "red")
    yield "without both nothing fails: it trains on the CPU, and is slow"
    yield f"Trainer, without being told, has put the model on {check.trainer_device}"


GPU = Gotcha(
    "gpu",
    "the GPU must be turned on",
    "On a GPU it takes minutes, on a CPU hours. Trainer finds the GPU by itself; in a loop of your own, you move "
    "the model and every batch to it.",
    run,
    printed,
    "Print torch.cuda.is_available() first: a GPU that is off is no error, only slow.",
)
