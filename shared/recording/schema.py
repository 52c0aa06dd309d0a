"""The schema of a record's lines and of a comparison, checked on reading, so that damage gives one clear line.

The values are not touched: numbers stay as they were written, bit for bit.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.config import RunConfig
from shared.errors import shown

# A whole number that counts something; seconds and sizes, which are finite; anything that was computed.
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = float
T = TypeVar("T")
Some = Annotated[list[T], Field(min_length=1)]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Digests = dict[str, str]


def _with_versions(environment: dict[str, Any]) -> dict[str, Any]:
    for name in ("torch", "transformers", "accelerate", "python", "device", "threads"):
        if name not in environment:
            raise ValueError(f"{name} is missing")
    return environment


def _with_settings(config: dict[str, Any]) -> dict[str, Any]:
    RunConfig(**config)
    return config


# Versions and device, which are written below every chart; and settings, as `RunConfig` has them.
Environment = Annotated[dict[str, Any], AfterValidator(_with_versions)]
Settings = Annotated[dict[str, Any], AfterValidator(_with_settings)]


class _Line(BaseModel):
    """Fields that are not named here are accepted: a later version may write more."""

    model_config = ConfigDict(strict=True, extra="allow")


class Code(_Line):
    page: str
    digest: str
    shared: str


class Data(_Line):
    text_column: str
    label_column: str
    eval_split: str | None
    labels: list[str]
    train: str
    eval: str


class Header(_Line):
    kind: Literal["header"]
    schema_: int = Field(alias="schema")
    loop: Literal["manual", "trainer"]
    config: dict[str, Any]
    code: Code | None = None
    data: Data | None = None
    world_size: Annotated[int, Field(ge=1)] = 1
    steps_per_epoch: Annotated[int, Field(ge=1)]
    environment: Environment


class Optimizer(_Line):
    class_: str = Field(alias="class")
    missing: list[str]
    groups: list[dict[str, Any]]


class Start(_Line):
    kind: Literal["start"]
    model: str
    parameters: Count
    trainable_parameters: Count
    frozen: list[str]
    dtypes: list[str]
    initial_weights: Digests
    optimizer: Optimizer
    is_given: bool = True


class Pass(_Line):
    sampler: str | None
    sampler_seed: int | None
    own_generator: bool
    draws_first: bool
    batch_size: Any
    drop_last: bool


class Gradients(_Line):
    left: Number
    backward: list[Number]
    between: list[Any]
    scaled: list[Number] | None


class Step(_Line):
    kind: Literal["step"]
    step: Annotated[int, Field(ge=1)]
    batch: list[Digests]
    reviews: list[list[str]]
    lengths: list[list[Count]]
    labels: list[Any]
    first_review: list[list[int]]
    masked: list[bool]
    passes: list[Pass]
    mode: list[Literal["train", "eval"]]
    dropout: list[list[Number]]
    autocast: list[str | None]
    rng: Digests
    forward_losses: list[Number | None]
    losses: list[Number]
    backward_passes: list[Count]
    loss: Number
    unclipped_norm: Number | None
    grad_norm: Number | None
    gradient_sample: str | None = None
    gradients: Gradients
    without_gradient: list[str]
    learning_rate: Number
    learning_rates: list[Number]
    optimizer: Count = 0
    parts: list[list[str]] = []
    rng_before: list[str] = []
    weights: str
    weights_after: str | None = None
    samples: Count
    tokens: Count
    padded_tokens: Count
    memory_mb: Amount | None = None
    seconds: dict[str, Amount]


class Resume(_Line):
    kind: Literal["resume"]
    step: Count
    environment: dict[str, Any]


class Evaluation(_Line):
    kind: Literal["evaluation"]
    step: Count
    mode: list[Literal["train", "eval"]]
    dropout: list[list[Number]]
    autocast: list[str | None]
    graph: bool
    parts: list[list[str]] = []
    weights: str | None = None
    batch: Digests
    batch_sizes: list[Count]
    losses: list[Number | None] = []
    correct: list[Count] | None = None
    reviews: str
    first_review: list[int]
    passes: list[Pass]
    logits: str
    loss: Number | None
    accuracy: Number | None
    samples: Count
    tokens: Count
    padded_tokens: Count
    seconds: Amount


class Detail(_Line):
    kind: Literal["detail"]


class LogLine(_Line):
    """A loop's log line; it may have any other fields, too."""

    __pydantic_extra__: dict[str, float | int | str | None]
    step: Count = 0
    epoch: Number = 0.0
    loss: Number = 0.0
    grad_norm: Number = 0.0
    learning_rate: Number = 0.0
    eval_loss: Number = 0.0
    eval_accuracy: Number = 0.0


class Footer(_Line):
    kind: Literal["footer"]
    steps: Count
    samples: Count
    tokens: Count
    padded_tokens: Count
    train_seconds: Amount
    evaluation_seconds: Amount
    checkpoint_seconds: Amount
    recorder_seconds: Amount
    samples_per_second: Amount
    tokens_per_second: Amount
    peak_memory_mb: Amount
    weights: str | None = None
    log_history: list[LogLine]


Line = Annotated[
    Header | Start | Step | Resume | Evaluation | Detail | Footer,
    Field(discriminator="kind"),
]
LINE: TypeAdapter[Line] = TypeAdapter(Line)
LOG_LINE: TypeAdapter[LogLine] = TypeAdapter(LogLine)


class ComparedRun(_Line):
    weights_sha256: str
    record: str


class Comparison(_Line):
    """What is read of it: all else is computed again from the runs."""

    verdict: Literal["identical", "diverged"]
    manual: ComparedRun
    trainer: ComparedRun


class SealedFile(_Line):
    bytes: Count
    xxh3_128: str


class Manifest(_Line):
    """Of a checkpoint. Settings of another version are not damage."""

    config: dict[str, Any]
    code: Code | None = None
    data: dict[str, Any] | None = None
    world_size: Annotated[int, Field(ge=1)]
    files: dict[str, SealedFile]


def problem(adapter: TypeAdapter, content: Any) -> str | None:
    """What is wrong with a record's line or another file's content, in a few words; None if nothing is."""
    try:
        adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return shown(f"{place}: {first['msg']}" if place else first["msg"], 120)
    except RecursionError:
        return "it is nested too deep"
    return None
