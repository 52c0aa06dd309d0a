"""The flight recorder sees everything and disturbs nothing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LOOPS, run_in_process
from safetensors.torch import load_file
from torch.nn.modules import module as torch_module
from torch.optim import optimizer as torch_optimizer
from torch.utils.data import DataLoader

from shared.config import RunConfig
from shared.data import load_data
from shared.model import load_tokenizer
from shared.recording.evidence import (
    SAMPLED,
    WeightSample,
    common_factor,
    norms,
    on_host,
    review_digest,
    rng_digests,
    some_of,
)
from shared.recording.record import RunRecord
from shared.recording.recorder import FlightRecorder
from shared.running.run import header


@pytest.mark.parametrize("loop", LOOPS)
def test_recorder_on_and_off_give_the_same_weights(loop: str, tmp_path: Path) -> None:
    config = RunConfig.build("tiny")
    watched = run_in_process(loop, config, tmp_path / "on")
    alone = run_in_process(loop, config, tmp_path / "off", record=False)
    assert not (alone / "record.jsonl").exists()
    weights, others = load_file(watched / "model.safetensors"), load_file(alone / "model.safetensors")
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_record_holds_every_step_and_evaluation(loop: str, tiny_runs: dict[str, Path]) -> None:
    record = RunRecord.read(tiny_runs[loop])
    assert [line["step"] for line in record.steps] == list(range(1, 17))
    assert [line["step"] for line in record.evaluations] == [8, 16]
    assert [record.epoch_of(step) for step in (1, 8, 9, 16)] == [1, 1, 2, 2]
    assert sum(line["samples"] for line in record.steps) == record.footer["samples"] == 122
    assert all(line["samples"] == 29 for line in record.evaluations)
    assert all(0 < line["tokens"] <= line["padded_tokens"] for line in record.steps)
    assert record.footer["train_seconds"] > 0
    assert record.start["optimizer"]["class"] == "AdamW"
    # What the hooks saw is what the loop itself reported.
    reported = [line for line in record.log_history if "eval_accuracy" in line]
    assert [line["eval_accuracy"] for line in reported] == [line["accuracy"] for line in record.evaluations]


def test_the_recorded_gradient_norm_and_learning_rate_are_the_optimizers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with FlightRecorder(tmp_path, header("manual", RunConfig.build("tiny"), None, None)) as recorder:
        loss = model(torch.ones(2, 3)).sum()
        loss.backward()
        optimizer.step()
        recorder.finish([])
    (step,) = RunRecord.read(tmp_path).steps
    # d(sum)/d(weight) is 2 for each of 3 weights, d(sum)/d(bias) is 2: the norm of four twos is 4.
    assert step["grad_norm"] == 4.0
    assert step["learning_rate"] == 0.5
    assert step["loss"] == loss.item()


def test_it_leaves_no_hook_behind(tmp_path: Path) -> None:
    backward, begin_pass, clip = torch.autograd.backward, DataLoader.__iter__, torch.nn.utils.clip_grad_norm_
    hooks = (
        torch_module._global_forward_pre_hooks,
        torch_module._global_forward_hooks,
        torch_optimizer._global_optimizer_pre_hooks,
        torch_optimizer._global_optimizer_post_hooks,
    )
    before = [len(table) for table in hooks]
    model = torch.nn.Linear(2, 1)
    with (
        pytest.raises(ZeroDivisionError),
        FlightRecorder(tmp_path, header("manual", RunConfig.build("tiny"), None, None)),
    ):
        model(torch.ones(1, 2)).sum().backward()
        raise ZeroDivisionError
    assert [len(table) for table in hooks] == before
    assert torch.autograd.backward is backward and DataLoader.__iter__ is begin_pass
    assert torch.nn.utils.clip_grad_norm_ is clip
    assert not model._forward_hooks and not model._forward_pre_hooks


def test_a_run_that_breaks_leaves_the_steps_it_did(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = FlightRecorder(tmp_path, header("manual", RunConfig.build("tiny"), None, None))
    with pytest.raises(ZeroDivisionError), recorder:
        for step in range(5):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            # Each line is on disk as soon as its step is over, not only at the end.
            assert len(RunRecord.read(tmp_path).steps) == step + 1
        raise ZeroDivisionError
    record = RunRecord.read(tmp_path)
    assert len(record.steps) == 5
    assert record.footer == {}


def test_the_random_states_digest_notices_every_source_and_draws_nothing() -> None:
    import random

    import numpy as np

    first = rng_digests()
    assert rng_digests() == first
    draws = {"python": random.random, "numpy": np.random.rand, "torch": lambda: torch.rand(1)}
    for generator, draw in draws.items():
        before = rng_digests()
        draw()
        after = rng_digests()
        assert {name for name in after if after[name] != before[name]} == {generator}


@pytest.mark.parametrize("loop", LOOPS)
def test_every_step_names_its_reviews(loop: str, tiny_runs: dict[str, Path]) -> None:
    config = RunConfig.build("tiny", num_train_epochs=2)
    dataset = load_data(config, load_tokenizer(config)).train_dataset
    known = [review_digest(np.array(row["input_ids"])) for row in dataset]
    record = RunRecord.read(tiny_runs[loop])
    for epoch in (1, 2):
        steps = [line for line in record.steps if record.epoch_of(line["step"]) == epoch]
        drawn = [digest for line in steps for batch in line["reviews"] for digest in batch]
        assert sorted(drawn) == sorted(known)
    sizes = [len(batch) for line in record.steps for batch in line["reviews"]]
    assert sizes == 2 * [8, 8, 8, 8, 8, 8, 8, 5]
    assert all(line["memory_mb"] > 50 for line in record.steps)


@pytest.mark.parametrize("limit", [1.0, 100.0])
@pytest.mark.parametrize(
    "touch", ["nothing", "before", "after", "in the clip's place", "past the counter", "one value"]
)
def test_norms_are_taken_anew_where_samples_and_counters_cannot_tell(
    limit: float, touch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def counted(gradients: list[torch.Tensor]) -> torch.Tensor:
        taken.append(len(gradients))
        return norms(gradients)

    monkeypatch.setattr("shared.recording.gradients.norms", counted)
    model = torch.nn.Linear(3000, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with FlightRecorder(tmp_path, header("manual", RunConfig.build("tiny"), None, None)) as recorder:
        model(torch.linspace(-0.1, 0.11, 6000).view(2, 3000)).sum().backward()
        unclipped = torch.linalg.vector_norm(norms([p.grad for p in model.parameters()])).item()
        assert 1.0 < unclipped < 100.0
        if touch == "before":
            model.weight.grad.mul_(3)
        if touch == "in the clip's place":
            model.weight.grad.mul_(0.3), model.bias.grad.mul_(0.3)
        elif touch == "past the counter":
            model.weight.grad.data.mul_(-0.3), model.bias.grad.data.mul_(-0.3)
        elif touch == "one value":
            model.weight.grad[0, 1].mul_(3)  # the sample has every 46th
        else:
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        if touch == "after":
            model.weight.grad.mul_(3)
        expected = torch.linalg.vector_norm(norms([p.grad for p in model.parameters()])).item()
        optimizer.step()
        recorder.finish([])
    (step,) = RunRecord.read(tmp_path).steps
    assert step["unclipped_norm"] == unclipped
    is_noticed = touch in ("nothing", "in the clip's place", "past the counter")
    assert taken == ([2] if is_noticed else [2, 2])
    # The products of all numbers are rounded by 2 ** -24 of them, and so is that of the norm; the sums as before.
    assert step["grad_norm"] == (pytest.approx(expected, rel=4 * 2**-24) if is_noticed else expected)


def test_the_factor_of_a_clip_is_told_from_the_bits_alone() -> None:
    draw = np.random.default_rng(3)
    before = np.concatenate([draw.standard_normal(70) * 10.0**power for power in (-9, -3, 0, 4)] + [np.zeros(5)])
    before = before.astype(np.float32)
    for factor in [*draw.uniform(size=200), 1.0, 2.0, 0.5, 1e-3, -0.7]:
        assert common_factor(before, before * np.float32(factor)) == np.float32(factor)
    scaled = before * np.float32(0.3)
    with np.errstate(invalid="ignore"):
        for other in (
            np.where(before == 0, np.float32(1), scaled),
            np.where(before > 2e4, np.nextafter(scaled, np.float32(0)), scaled),
            np.clip(before, np.float32(-0.5), np.float32(0.5)),
            before / np.float32(7.3) * np.float32(1.9),
            before * np.float32(math.nan),
            before * np.float32(0),
            scaled[:-1],
        ):
            assert common_factor(before, other) is None


def test_a_sample_of_gradients_is_taken_where_it_can_tell() -> None:
    gradients = [torch.zeros(0), torch.tensor(3.0), torch.arange(1000.0), torch.ones(300, 7).t()]
    sample = some_of(gradients)
    assert sample.dtype == np.float32 and sample[0] == 3.0 and sample[1:4].tolist() == [0.0, 15.0, 30.0]
    gradients[1].zero_()
    assert sample[0] == 3.0
    for other in (torch.ones(3).double(), torch.ones(3).to_sparse(), torch.ones(3, device="meta")):
        assert some_of([*gradients, other]) is None
    assert some_of([]) is None


def test_what_lies_on_a_device_is_fetched_once_for_each_type() -> None:
    class OnDevice(torch.Tensor):
        """A tensor that says it lies elsewhere: this machine may have no device."""

        device = torch.device("meta")

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            calls.append(getattr(function, "__name__", ""))
            return super().__torch_function__(function, types, args, kwargs or {})

    calls: list[str] = []
    numbers = [torch.rand(2, 3), torch.tensor(1.5), torch.arange(4), torch.rand(0, 2)]
    value = [{"a": numbers[0].as_subclass(OnDevice), "b": [numbers[1].as_subclass(OnDevice), None, "text"]}]
    value += [(numbers[2].as_subclass(OnDevice), numbers[3].as_subclass(OnDevice), torch.ones(1))]
    fetched = on_host(value)
    assert calls.count("cpu") == 2
    assert torch.equal(fetched[0]["a"], numbers[0]) and torch.equal(fetched[0]["b"][0], numbers[1])
    assert fetched[0]["b"][1:] == [None, "text"] and torch.equal(fetched[1][0], numbers[2])
    assert fetched[1][1].shape == (0, 2) and fetched[1][2] is value[1][2]


def test_a_norm_does_not_depend_on_where_in_memory_the_gradient_lies() -> None:
    values = torch.randn(10_007)
    for offset in (1, 5, 16):
        moved = torch.zeros(20_000)[offset:][: len(values)]
        moved.copy_(values)
        assert torch.equal(norms([moved]), norms([values]))
    gradients = [values, values.view(-1, 10_007).t(), values.double(), torch.zeros(3), torch.tensor(-2.0)]
    exact = [tensor.double().norm().item() for tensor in gradients]
    assert norms(gradients).tolist() == pytest.approx(exact, rel=1e-6)


def test_the_sample_follows_a_weight_that_moves_in_place_or_elsewhere() -> None:
    sample, weight, bias = WeightSample(), torch.nn.Parameter(torch.zeros(3, 2000)), torch.nn.Parameter(torch.zeros(4))
    (first,) = sample.take([weight, bias])
    assert SAMPLED <= len(first) - len(bias) < 2 * SAMPLED and not first.any()
    with torch.no_grad():
        weight.add_(1)
    assert sample.take([weight, bias])[0].sum() == len(first) - len(bias) and not first.any()
    weight.data = torch.full((3, 2000), 2.0)
    assert sample.take([weight, bias])[0].sum() == 2 * (len(first) - len(bias))
    half = torch.nn.Parameter(torch.ones(5, dtype=torch.bfloat16))
    assert [part.dtype for part in sample.take([weight, half])] == [torch.float32, torch.bfloat16]
