"""Evidence on tensors, batches, gradients and random states: digests and descriptions.

The flight recorder writes them down, the rules about causes read them. Everything here reads; nothing draws a random
number or changes a tensor.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import torch
import xxhash
from torch.utils.data import DataLoader

from shared.files import digest

# The model's inputs that make up a batch, in the order in which they are digested.
BATCH_KEYS = ("input_ids", "attention_mask", "labels")
# How many tokens of a batch's first review are kept, to show them where two batches differ.
FIRST_TOKENS = 24
# Of every weight at most so many numbers, evenly spread over it, stand for the whole in a step's digest.
SAMPLED = 512
# How many numbers of every gradient: a clip scales all of them alike, so a few show by how much.
FEW = 64
# A float32 below this may have too few digits to show by what it was multiplied.
SMALLEST = 1e-30
# Bytes; c10/core/alignment.h of torch: what its allocator gives on a CPU begins at a multiple of this.
ALIGNED = 64


# Digests ------------------------------------------------------------------------------------------


def as_bytes(value: torch.Tensor) -> Any:
    """A tensor's own bytes, whatever its type."""
    return value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def named_digests(tensors: dict[str, torch.Tensor]) -> list[list[str]]:
    """`[name, digest]` of each tensor."""
    return [[name, digest([as_bytes(value)])] for name, value in tensors.items()]


def review_digest(tokens: np.ndarray) -> str:
    """A digest of one review as the model is given it: its token numbers, int64, without padding."""
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(tokens, dtype=np.int64).data)


# Batches ------------------------------------------------------------------------------------------


def mask_of(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The attention mask (batch, tokens), or what a model takes in its place where it is given none: all ones."""
    return inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))


def batch_digests(inputs: dict[str, torch.Tensor]) -> dict[str, str]:
    """A digest of each input of a batch, shape included; without labels where the model was given none.

    A mask that was not given counts as all ones, which is how the model takes it.
    """
    if "input_ids" in inputs:
        inputs = {**inputs, "attention_mask": mask_of(inputs)}
    names = [*(name for name in BATCH_KEYS if name in inputs), *(name for name in inputs if name not in BATCH_KEYS)]
    return {name: digest([repr(tuple(inputs[name].shape)).encode(), as_bytes(_whole(inputs[name]))]) for name in names}


def reviews_of(inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """The token numbers of every review of a batch, without padding; none where the model takes no tokens."""
    if "input_ids" not in inputs:
        return []
    rows = inputs["input_ids"].cpu().numpy()
    mask = mask_of(inputs).cpu().numpy().astype(bool)
    if mask.shape != rows.shape:
        return list(rows)
    return [row[kept] for row, kept in zip(rows, mask, strict=True)]


def describe_loader(loader: DataLoader) -> dict[str, Any]:
    """Where a pass over a loader takes its order from: the sampler, and whose generator it draws from.

    `sampler_seed` is the seed that the sampler's own generator was given last, None where it has none and draws from
    torch's global random state. `own_generator`: the loader itself has been given one, from which it draws the number
    that it otherwise draws from the global state; `draws_first`: it is the sampler's, which then comes second.
    """
    sampler = loader.sampler
    if loader.batch_sampler is not None:
        sampler = getattr(loader.batch_sampler, "sampler", loader.batch_sampler)
    generator = getattr(sampler, "generator", None)
    own = generator if isinstance(generator, torch.Generator) else None
    return {
        "sampler": type(sampler).__name__,
        "sampler_seed": None if own is None else own.initial_seed(),
        "own_generator": loader.generator is not None,
        "draws_first": own is not None and loader.generator is own,
        "batch_size": loader.batch_size or getattr(loader.batch_sampler, "batch_size", None),
        "drop_last": bool(loader.drop_last or getattr(loader.batch_sampler, "drop_last", False)),
    }


# Gradients and weights ----------------------------------------------------------------------------


def norms(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The 2-norm of every tensor, as one vector, on the device of the first."""
    if not gradients:
        return torch.zeros(1)
    device = gradients[0].device
    with torch.no_grad():
        if all(gradient.device.type == "cpu" for gradient in gradients):
            # As a dot product: the BLAS reads at the memory's speed, torch's own norm at a third of it.
            return torch.stack([torch.dot(flat, flat) for flat in map(_flat, gradients)]).sqrt()
        # All at once, as torch's own clip takes them: one launch on a GPU instead of one per tensor.
        gradient_norms = torch._foreach_norm(gradients, 2, dtype=torch.float32)
        return torch.stack([norm.to(device) for norm in gradient_norms])


def _flat(gradient: torch.Tensor) -> torch.Tensor:
    """As a vector in float32 that begins where torch lets a tensor begin; elsewhere a BLAS may add up otherwise."""
    flat = gradient.float().reshape(-1)
    return flat if flat.data_ptr() % ALIGNED == 0 else flat.clone()


def scaling(before: torch.Tensor, after: torch.Tensor) -> list[float] | None:
    """By which factor the tensors' norms have changed: the smallest and the largest; None if there is no answer.

    A clip by norm scales all alike, a clip by value does not.
    """
    if before.shape != after.shape:
        return None
    moved = before > 0
    factors = (after[moved] / before[moved]).double()
    return [factors.min().item(), factors.max().item()] if len(factors) else None


def some_of(gradients: Sequence[torch.Tensor]) -> np.ndarray | None:
    """Copies of at most twice `FEW` numbers of every gradient, evenly spread, in one vector.

    None where there are no gradients, and where they are anything but dense float32 on the CPU.
    """
    if not gradients or any(
        not tensor.is_cpu or tensor.dtype != torch.float32 or tensor.layout != torch.strided for tensor in gradients
    ):
        return None
    flats = [tensor.detach().numpy().reshape(-1) for tensor in gradients]
    return np.concatenate([flat[:: max(1, len(flat) // FEW)] for flat in flats])


def common_factor(before: np.ndarray, after: np.ndarray) -> float | None:
    """The number that has multiplied all of `before` to all of `after`, each product as float32 rounds it.

    None if there is none, as after a clip by value. The result depends only on the bits of both: two loops whose
    gradients are equal get the same factor, however they write their clip.

    Args:
        before, after: vectors of float32.
    """
    if before.shape != after.shape:
        return None
    # An infinite one gives no factor either.
    usable = (np.abs(after) > SMALLEST) & np.isfinite(after) & (before != 0)
    if not usable.any():
        return None
    first, then = before[usable].astype(np.float64), after[usable]
    # Whatever is rounded to `then` lies less than half a step from it.
    near, far = (np.nextafter(then, then * np.float32(side)).astype(np.float64) for side in (0, 2))
    near_bound, far_bound = (then + near) / 2 / first, (then + far) / 2 / first
    factor = np.float32((np.minimum(near_bound, far_bound).max() + np.maximum(near_bound, far_bound).min()) / 2)
    return float(factor) if np.array_equal(before * factor, after) else None


class WeightSample:
    """At most `SAMPLED` numbers of every weight, evenly spread: enough to see that it has moved.

    Where they lie is worked out again only when a weight lies elsewhere than at the last call.
    """

    def __init__(self) -> None:
        self._where: list[tuple[int, int]] = []
        self._views: list[list[torch.Tensor]] = []

    def take(self, parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Copies of them. Weights of one kind on one device that follow each other are in one tensor."""
        where = [(id(parameter), parameter.data_ptr()) for parameter in parameters]
        if where != self._where:
            flats = [parameter.detach().reshape(-1) for parameter in parameters]
            views = [flat[:: max(1, len(flat) // SAMPLED)] for flat in flats]
            self._where = where
            self._views = [list(alike) for _, alike in groupby(views, lambda view: (view.dtype, view.device))]
        return [torch.cat(alike) for alike in self._views]


def on_host(value: Any) -> Any:
    """Dictionaries, lists and tuples as they are, but every tensor in them on the CPU.

    What lies on a device comes in one transfer for each type of number, instead of one for each tensor.
    """
    by_kind: dict[tuple, dict[int, torch.Tensor]] = {}

    def collect(part: Any) -> None:
        if isinstance(part, torch.Tensor) and part.device.type != "cpu":
            by_kind.setdefault((part.device, part.dtype), {})[id(part)] = part
        elif isinstance(part, (dict, list, tuple)):
            for member in part.values() if isinstance(part, dict) else part:
                collect(member)

    collect(value)
    fetched = {}
    for tensors in by_kind.values():
        together = torch.cat([tensor.reshape(-1) for tensor in tensors.values()]).cpu()
        pieces = together.split([tensor.numel() for tensor in tensors.values()])
        for (key, tensor), piece in zip(tensors.items(), pieces, strict=True):
            fetched[key] = piece.view(tensor.shape)

    def put(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: put(member) for name, member in part.items()}
        if isinstance(part, (list, tuple)):
            return type(part)(map(put, part))
        return fetched.get(id(part), part)

    return put(value) if fetched else value


# Model and optimizer ------------------------------------------------------------------------------


def describe_model(model: torch.nn.Module) -> dict[str, Any]:
    """The model as it stands: class, parameter counts and kinds, what is frozen, and a digest of every tensor."""
    parameters = dict(model.named_parameters())
    return {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in parameters.values()),
        "trainable_parameters": sum(p.numel() for p in parameters.values() if p.requires_grad),
        "frozen": [name for name, p in parameters.items() if not p.requires_grad],
        "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in parameters.values()}),
        "initial_weights": dict(named_digests(model.state_dict())),
    }


def parts_in_another_mode(modules: Sequence[tuple[str, torch.nn.Module]]) -> list[str]:
    """The names of the outermost modules inside a model that are in another mode, train or eval, than the model.

    Args:
        modules: as the model's `named_modules` gives them, itself first.
    """
    mode = modules[0][1].training
    in_another_mode: list[str] = []
    for name, module in modules:
        if module.training is not mode and not (in_another_mode and name.startswith(f"{in_another_mode[-1]}.")):
            in_another_mode.append(name)
    return in_another_mode


def describe_optimizer(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, Any]:
    """The optimizer as it stands: class, each group's settings with the number of its parameters, and what it lacks.

    `missing` are the model's parameters that could be trained and are in no group.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {
        "class": type(optimizer).__name__,
        "missing": [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held],
        "groups": [
            {
                "parameters": sum(p.numel() for p in group["params"]),
                **{name: plain(value) for name, value in sorted(group.items()) if name not in ("params", "lr")},
            }
            for group in optimizer.param_groups
        ],
    }


# Random states ------------------------------------------------------------------------------------


def rng_digests() -> dict[str, str]:
    """A digest of every random state that a training loop could draw from, by the generator's name.

    Python's, numpy's, torch's on the CPU and, where there is one, on the current GPU. Reading them draws nothing, and
    the GPU's state is kept on the host, so nothing waits for it.
    """
    state: Any = np.random.get_state()
    name, keys, *rest = state
    states: dict[str, list[Any]] = {
        "python": [_as_text(random.getstate())],
        "numpy": [keys.tobytes(), repr((name, rest)).encode()],
        "torch": [as_bytes(torch.get_rng_state())],
    }
    if torch.cuda.is_available():
        states["cuda"] = [as_bytes(torch.cuda.get_rng_state())]
    return {generator: digest(parts) for generator, parts in states.items()}


def torch_rng_digest() -> str:
    """A digest of torch's global random state, on the CPU and on the current GPU: what dropout draws from."""
    parts = [as_bytes(torch.get_rng_state())]
    return digest([*parts, as_bytes(torch.cuda.get_rng_state())] if torch.cuda.is_available() else parts)


@lru_cache(maxsize=1)
def _as_text(state: tuple) -> bytes:
    """Python's random state, 625 numbers, spelled out; again only when something was drawn since the last call."""
    return repr(state).encode()


def _whole(value: torch.Tensor) -> torch.Tensor:
    """Whole numbers in one type: it makes no difference whether a loop keeps them in 32 or 64 bits, or as booleans."""
    return value if value.is_floating_point() else value.long()


def plain(value: Any) -> Any:
    """A setting of an optimizer, as JSON can hold it."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [*map(plain, value)]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
