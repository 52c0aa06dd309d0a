"""What a script's Trainer does: which of its arguments, methods and callbacks change the numbers, and how.

Everything is read from the `Trainer` that the script has built, and from one batch that runs through its model without
training. What is not carried over into the manual loop is named (`Refusal`), with its line and what to do.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import torch

from benchmarks.port.door import Capture
from benchmarks.port.probe import Probe, probe
from shared.config import METRIC_SCHEDULES

# Arguments that change numbers and that the loop does not have.
NOT_CARRIED = (
    *("accelerator_config", "auto_find_batch_size", "batch_eval_metrics"),
    *("bf16_full_eval", "deepspeed", "eval_do_concat_batches", "fp16", "fp16_full_eval", "fsdp", "fsdp_config"),
    *("include_for_metrics", "neftune_noise_alpha", "optim_target_modules"),
    *("parallelism_config", "predict_with_generate", "tf32", "torch_compile", "use_liger_kernel"),
)
# Methods of `Trainer` that can be overridden without changing the training; and those that the loop takes over.
CARRIED = {
    *("compute_loss", "create_optimizer", "create_scheduler", "training_step"),
    *("get_train_dataloader", "_get_train_sampler", "get_eval_dataloader"),
}
LOOK_ON = {
    *("__init__", "log", "save_model", "_save", "create_model_card", "push_to_hub", "num_examples", "predict"),
    *("floating_point_ops", "store_flos", "train", "init_hf_repo", "is_world_process_zero", "_save_checkpoint"),
}
# Text in a callback that shows that it may change the training.
CHANGES = re.compile(r"control\.|requires_grad|\.data\b|optimizer|lr_scheduler|load_state_dict|\.train\(|\.eval\(")
OWN_OPTIMIZER = "build it in the script and give optimizers=(optimizer, None), which is taken over"
ADVICE = {
    "prediction_step": "put its lines into the loop's evaluate",
    "evaluate": "put its lines into the loop's evaluate",
    "evaluation_loop": "put its lines into the loop's evaluate",
}


class Refusal(NamedTuple):
    """Something that the loop does not have: its line in the script (0: none), what it is, and what to do."""

    line: int
    description: str
    advice: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.description}; {self.advice}"


@dataclass
class Settings:
    """Everything that the loop is written from.

    Attributes:
        captured: what the script has built.
        probe: the facts that one batch shows.
        refusals: what is not carried over.
        extras: further arguments of the loop, in addition to model, tokenizer and data sets: values by name.
    """

    captured: Capture
    probe: Probe
    refusals: list[Refusal] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, captured: Capture) -> Settings:
        """Read a Trainer; its random states are left as they were."""
        settings = cls(captured, probe(captured.trainer))
        settings.refusals += [*settings._arguments_refused(), *settings._parts_refused(), *settings._methods_refused()]
        trainer, arguments = captured.trainer, captured.arguments
        for name in ("data_collator", "compute_metrics", "preprocess_logits_for_metrics", "compute_loss_func"):
            if arguments.get(name) is not None:
                settings.extras[name] = getattr(trainer, name)
        if trainer.optimizer is not None or trainer.lr_scheduler is not None:
            settings.extras["optimizers"] = (trainer.optimizer, trainer.lr_scheduler)
        if trainer.model_init is not None:
            settings.extras["model_init"] = trainer.model_init
        return settings

    @property
    def args(self) -> Any:
        """The script's `TrainingArguments`."""
        return self.captured.trainer.args

    # Data -----------------------------------------------------------------------------------------

    @property
    def batches_per_epoch(self) -> int:
        if self.probe.batches is not None:
            return self.probe.batches
        count = len(self.captured.trainer.train_dataset) / self.args.train_batch_size
        return math.floor(count) if self.args.dataloader_drop_last else math.ceil(count)

    @property
    def steps_per_epoch(self) -> int:
        return max(1, math.ceil(self.batches_per_epoch / self.args.gradient_accumulation_steps))

    @property
    def max_steps(self) -> int:
        if self.args.max_steps > 0:
            return self.args.max_steps
        return math.ceil(self.args.num_train_epochs * self.steps_per_epoch)

    @property
    def epochs(self) -> int:
        return math.ceil(self.max_steps / self.steps_per_epoch)

    @property
    def is_cut_short(self) -> bool:
        """Whether the last epoch ends before all of its batches are done."""
        return self.max_steps % self.steps_per_epoch > 0

    @property
    def data_seed(self) -> int:
        """The seed of the order of the data: where none is given, the last seed that torch was given."""
        return self.args.data_seed if self.args.data_seed is not None else torch.initial_seed()

    @property
    def eval_names(self) -> list[str]:
        """The names of the evaluation sets, where there are several."""
        sets = self.captured.trainer.eval_dataset
        return list(sets) if isinstance(sets, dict) else []

    @property
    def weighs_as_full(self) -> bool:
        """Whether an evaluation's last batch weighs as much as a full one, and so do batches of another size.

        `Trainer` repeats a batch's loss as often as a full batch has examples, and accelerate's `gather_for_metrics`
        cuts the last one: not in `Seq2SeqTrainer`, which takes `gather`, nor with a loader that is not prepared.
        """
        from transformers import Seq2SeqTrainer

        return isinstance(self.captured.trainer, Seq2SeqTrainer) or self.probe.is_eval_prepared is False

    @property
    def eval_cut(self) -> int:
        """How many examples of each batch an evaluation at the end of an epoch keeps; 0: all.

        accelerate's `gather_for_metrics` cuts to the last batch of the loader that is being used. For an evaluation
        loader that it has not prepared, it takes the training loader for that one.
        """
        if self.probe.is_eval_prepared is not False or not self.probe.is_prepared or self.args.dataloader_drop_last:
            return 0
        return len(self.captured.trainer.train_dataset) % self.args.train_batch_size

    # Loss -----------------------------------------------------------------------------------------

    @property
    def is_counted(self) -> bool:
        """Whether Trainer counts the labels of a step, and so does not divide the loss before backward."""
        trainer = self.captured.trainer
        wants = trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None
        return bool(wants and self.probe.has_labels_key)

    @property
    def is_divided(self) -> bool:
        """Whether each batch gives its share of the step's loss: its mean, divided by the number of batches."""
        trainer = self.captured.trainer
        if trainer.loss_is_scaled_for_ga is not None:
            return not trainer.loss_is_scaled_for_ga
        return not (trainer.model_accepts_loss_kwargs and self.is_counted) and trainer.compute_loss_func is None

    @property
    def loss_kind(self) -> str:
        """Where the loss comes from: `override`, `function`, `smoother` or `model`."""
        trainer = self.captured.trainer
        if self.override_of("compute_loss"):
            return "override"
        if trainer.compute_loss_func is not None:
            return "function"
        return "smoother" if trainer.label_smoother is not None and self.probe.has_labels_key else "model"

    def optimizer(self) -> tuple[Any, dict[str, Any]]:
        """The class of optimizer that the arguments name, and its own arguments.

        Raises:
            ImportError, ValueError: this machine has no such optimizer.
        """
        trainer = self.captured.trainer
        return trainer.get_optimizer_cls_and_kwargs(self.args, trainer.model)

    def override_of(self, name: str) -> type | None:
        """The user's class that has its own method of this name."""
        return next((owner for owner in self.own_classes() if name in vars(owner)), None)

    def is_helper(self, name: str) -> bool:
        """Whether the user's class has a method of this name that `Trainer` has not."""
        from transformers import Trainer

        owner = self.override_of(name)
        return owner is not None and not hasattr(Trainer, name) and inspect.isfunction(vars(owner)[name])

    def constant(self, name: str) -> bool | int | float | str | None:
        """The value that the user's own class, not an instance of it, has for a name, if it is one of these types."""
        owner = self.override_of(name)
        value = vars(owner)[name] if owner and name not in vars(self.captured.trainer) else None
        return value if isinstance(value, (bool, int, float, str)) else None

    @cached_property
    def set_by_methods(self) -> set[str]:
        """The attributes of the Trainer that the user's own methods set, other than `__init__`."""
        names = set()
        for method in (value for owner in self.own_classes() for value in vars(owner).values()):
            if inspect.isfunction(method) and method.__name__ != "__init__" and (source := _source_of(method)[0]):
                attributes = (
                    node for node in ast.walk(ast.parse(textwrap.dedent(source))) if isinstance(node, ast.Attribute)
                )
                names |= {node.attr for node in attributes if not isinstance(node.ctx, ast.Load)}
        return names

    def own_classes(self) -> Iterator[type]:
        """The user's own classes in the Trainer's method resolution order."""
        from transformers import Trainer

        for owner in type(self.captured.trainer).__mro__:
            if owner is Trainer:
                return
            if not owner.__module__.startswith("transformers."):
                yield owner

    # Course ---------------------------------------------------------------------------------------

    def every(self, name: str) -> int:
        """`logging_steps`, `eval_steps` or `save_steps` as a number of steps: below 1, it is a share of all."""
        value = getattr(self.args, name)
        return math.ceil(self.max_steps * value) if value < 1 else int(value)

    @property
    def stopping(self) -> Any:
        """The callback that stops early, if there is one."""
        from transformers import EarlyStoppingCallback

        callbacks = self.captured.trainer.callback_handler.callbacks
        return next((callback for callback in callbacks if isinstance(callback, EarlyStoppingCallback)), None)

    @property
    def callbacks(self) -> list[Any]:
        """The user's own."""
        callbacks = self.captured.trainer.callback_handler.callbacks
        return [callback for callback in callbacks if not type(callback).__module__.startswith("transformers.")]

    @property
    def follows_metric(self) -> bool:
        return self.args.lr_scheduler_type in METRIC_SCHEDULES

    @property
    def best_metric(self) -> str | None:
        """The metric by which the best evaluation is chosen, if anything depends on it."""
        name = self.args.metric_for_best_model
        needed = self.args.load_best_model_at_end or self.stopping or self.follows_metric
        if not needed or not name or str(self.args.eval_strategy.value) == "no":
            return None
        return name if name.startswith("eval_") else f"eval_{name}"

    # What is not carried over ---------------------------------------------------------------------

    @cached_property
    def changed_arguments(self) -> dict[str, str]:
        """The arguments that differ from the defaults of `TrainingArguments`, each as text, except the output folder.

        It builds another `TrainingArguments` for this, which resets state of accelerate that a Trainer needs to train.
        """
        args = self.args
        default = type(args)(output_dir=args.output_dir, report_to="none")
        names = [argument.name for argument in fields(args) if argument.name not in ("output_dir", "report_to")]
        texts = {name: [_plain(getattr(arguments, name, None)) for arguments in (args, default)] for name in names}
        return {name: own for name, (own, other) in texts.items() if own != other}

    def _arguments_refused(self) -> Iterator[Refusal]:
        args = self.args
        for name in NOT_CARRIED:
            if name in self.changed_arguments:
                description = f"{name}={self.changed_arguments[name]} is not carried over"
                yield Refusal(0, description, "leave it out of the script, or compare with a loop of your own")
        if args.world_size > 1 or args.n_gpu > 1:
            yield Refusal(0, "the script trains in several processes or on several GPUs", "let it see one GPU only")
        if args.train_sampling_strategy == "batch_rebalance":
            yield Refusal(0, "train_sampling_strategy='batch_rebalance' is not carried over", "choose another one")
        if args.dataloader_num_workers and self.probe.draws:
            yield Refusal(0, "random numbers are drawn in worker processes", "set dataloader_num_workers=0")

    def _parts_refused(self) -> Iterator[Refusal]:
        trainer, line = self.captured.trainer, self.captured.built_at
        if trainer.optimizer_cls_and_kwargs is not None:
            yield Refusal(line, "optimizer_cls_and_kwargs is not carried over", OWN_OPTIMIZER)
        try:
            kind = self.optimizer()[0]
            known = getattr(kind, "__module__", "").startswith(("torch.optim", "transformers.optimization"))
        except (ImportError, ValueError) as error:
            kind, known = error, False
        if not known and trainer.optimizer is None and self.override_of("create_optimizer") is None:
            description = f"optim={str(getattr(self.args.optim, 'value', self.args.optim))!r} is not carried over"
            yield Refusal(0, description, OWN_OPTIMIZER)
        if hasattr(trainer.model, "peft_config"):
            yield Refusal(line, "adapters of PEFT were not tested", "you can still compare with --loop")
        for callback in map(type, self.callbacks):
            source, line = _source_of(callback)
            change = CHANGES.search(source)
            if not source or change:
                evidence = f" (`{change.group().strip('.(')}`)" if change else ""
                description = f"the callback {callback.__name__} may change the course of the training{evidence}"
                yield Refusal(line, description, "write what it does into the loop, at the same point")

    def _methods_refused(self) -> Iterator[Refusal]:
        from transformers import Trainer

        line = self.captured.built_at
        if self.probe.foreign_loader:
            description = f"your get_train_dataloader returns a {self.probe.foreign_loader}, not torch's DataLoader"
            yield Refusal(line, description, "put its lines where the loop makes train_loader")
        other_size = self.probe.is_eval_prepared and self.probe.eval_batch_size != self.args.eval_batch_size
        if self.override_of("get_eval_dataloader") and (self.eval_names or self.probe.draws or other_size):
            description = (
                "your get_eval_dataloader with several evaluation sets, random collators or another batch size than "
                "the arguments' is not carried over"
            )
            yield Refusal(line, description, "put its lines where the loop makes eval_loader")
        if self.eval_cut:
            description = (
                "your get_eval_dataloader returns a loader that accelerate has not prepared, so at the end of an "
                f"epoch Trainer evaluates only {self.eval_cut} examples of each batch"
            )
            yield Refusal(line, description, "return self.accelerator.prepare(...) of it")
        plain_loss = self.captured.trainer.compute_loss_func is None and self.captured.trainer.label_smoother is None
        if self.override_of("training_step") and (self.args.gradient_accumulation_steps > 1 or not plain_loss):
            description = (
                "your training_step with accumulation, label smoothing or compute_loss_func is not carried over"
            )
            yield Refusal(line, description, "put its lines around the loop's loss.backward()")
        if self.override_of("create_optimizer") and self.captured.trainer.optimizer is not None:
            yield Refusal(line, "your create_optimizer beside optimizers=(...) is not carried over", OWN_OPTIMIZER)

        for owner in self.own_classes():
            for name, method in vars(owner).items():
                if not callable(method) or not hasattr(Trainer, name) or name in LOOK_ON | CARRIED:
                    continue
                if f"{owner.__name__}.{name}" in self.never_called or (name == "evaluate" and self.adds_to_evaluate):
                    continue
                description = f"your {owner.__name__}.{name} is not carried over"
                yield Refusal(_source_of(method)[1], description, ADVICE.get(name, "port it yourself"))

    @cached_property
    def never_called(self) -> list[str]:
        """The user's methods that replace one of `Trainer` which nothing calls, as `Class.method`.

        One is `create_optimizer_and_scheduler`, which earlier releases of transformers called.
        """
        from transformers import Trainer

        name = "create_optimizer_and_scheduler"
        owner = self.override_of(name)
        if owner is None or not hasattr(Trainer, name):
            return []
        code = "".join(_source_of(cls)[0] for cls in type(self.captured.trainer).__mro__ if cls is not object)
        return [] if f"self.{name}(" in code else [f"{owner.__name__}.{name}"]

    @property
    def adds_to_evaluate(self) -> bool:
        """Whether the user's own `evaluate` only adds to what Trainer's returns and nothing depends on it."""
        owner = self.override_of("evaluate")
        source = _source_of(vars(owner)["evaluate"])[0] if owner else ""
        changes = CHANGES.search(source) or "self.model" in source or "self.log(" in source
        return bool(re.search(r"super\(.*\)\.evaluate\(", source)) and not changes and self.best_metric is None

    @property
    def only_looks_on(self) -> list[str]:
        """Callbacks that change nothing, and so are left out."""
        return [
            type(callback).__name__ for callback in self.callbacks if not CHANGES.search(_source_of(type(callback))[0])
        ]


def _source_of(thing: Any) -> tuple[str, int]:
    """The source of a class or method, and its line in the script; empty and 0 where it cannot be found."""
    try:
        lines, start = inspect.getsourcelines(thing)
    except (OSError, TypeError):
        return "", 0
    return "".join(lines), start


def _plain(value: Any) -> str:
    """A value as a script writes it; for an enumeration its value."""
    return repr(getattr(value, "value", value))
