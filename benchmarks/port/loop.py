"""The loop that a script's Trainer runs, written out: `train` and `evaluate`, without what is switched off.

Its text is in `templates/loop.py.jinja`; this module holds what the template uses.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.pages.fold import formatted
from benchmarks.port.override import OF_TRAINER, name_of, overrides_of
from benchmarks.port.settings import Settings

PLAIN = ("model", "tokenizer", "train_dataset", "eval_dataset")


class Loop:
    """Writes the loop of one script's settings; the template reads its attributes.

    Args:
        settings: of the script; what the user's own methods need is added to them.

    Attributes:
        extras: the arguments that `train` takes in addition to the four that every loop has, by name.
    """

    def __init__(self, settings: Settings) -> None:
        from transformers import PreTrainedModel

        self.settings, self.args, self.probe = settings, settings.args, settings.probe
        self.trainer, self.kind = settings.captured.trainer, settings.loss_kind
        self.overrides = overrides_of(settings)
        self.override = self.overrides.get("compute_loss")
        # What the user's methods set in their Trainer.
        state = {name: value for override in self.overrides.values() for name, value in override.state.items()}
        self.state = ", ".join(f"{name}={value!r}" for name, value in state.items())
        # What the user's methods leave to Trainer.
        own = "".join(override.source for override in self.overrides.values())
        self.helpers = [name for name in OF_TRAINER.values() if f"{name}(" in own]
        self.extras, args, model = settings.extras, self.args, self.trainer.model
        self.parameters = ", ".join(
            [*PLAIN, *(["*"] if self.extras else []), *(f"{name}=None" for name in self.extras)]
        )
        self.accumulates = args.gradient_accumulation_steps > 1
        self.evaluates = args.eval_strategy.value != "no" or args.eval_on_start
        self.keeps_best = bool(args.load_best_model_at_end and settings.best_metric)
        makes_optimizer = "optimizers" in self.extras or "create_optimizer" in self.overrides
        self.decays = bool(args.weight_decay and not makes_optimizer)
        self.is_grouped = args.train_sampling_strategy == "group_by_length"
        self.own_loader = self.overrides.get("get_train_dataloader")
        self.own_sampler = None if self.own_loader else self.overrides.get("_get_train_sampler")
        self.own_eval_loader = self.overrides.get("get_eval_dataloader") if self.evaluates else None
        is_own = self.own_loader or self.own_sampler
        # Whether the order is seeded again in every epoch, with the seed that Trainer has for it.
        self.is_reseeded = self.probe.is_reseeded if is_own else args.train_sampling_strategy == "random"
        self.is_fresh = getattr(self.trainer, "_sameloop_is_fresh", True)
        self.has_loss = self.probe.labels or (not self.trainer.label_names and self.trainer.can_return_loss)
        self.has_metrics = bool(
            "compute_metrics" in self.extras and self.probe.labels and not args.prediction_loss_only
        )
        is_pretrained = isinstance(model, PreTrainedModel)
        self.generates = is_pretrained and getattr(model.config, "use_cache", None) is False and model.can_generate()
        self.eval_seed = args.seed if args.data_seed is None else args.data_seed
        self.weighs_as_full = settings.weighs_as_full
        self.prefix = "{prefix}" if settings.eval_names else "eval"
        self.better = ">" if args.greater_is_better else "<"
        least = settings.stopping.early_stopping_threshold if settings.stopping else 0
        self.by_enough = f" and abs(metric - best_metric) > {least}" if least else ""
        # The name of the number of labels in a step, where the loss is divided by it.
        uses = {
            "override": bool(self.override and self.override.uses_items),
            "function": True,
            "smoother": bool(self.trainer.model_accepts_loss_kwargs),
            "model": self.probe.counts,
        }
        self.items = "num_items" if settings.is_counted and uses[self.kind] else ""
        self.items_argument = f", num_items_in_batch={self.items}" if self.items else ""
        self.count = f'batch["labels"]{"[..., 1:]" if self.trainer._loss_shifts_labels else ""}.ne(-100).sum()'
        self._set_loading()

    def _set_loading(self) -> None:
        """What the loaders are made from."""
        args = self.args
        # The keys that the collator removes, for a loader that is not the script's own.
        makes_loader = not self.own_loader or (self.evaluates and not self.own_eval_loader)
        self.extra_keys = self.probe.extra_keys if makes_loader else []
        # The columns that the model does not take, by data set, for the data sets that are used.
        sets = {name: columns for name, columns in self.probe.unused.items() if columns}
        taken_over = {"train_dataset": self.own_loader, "eval_dataset": self.own_eval_loader or not self.evaluates}
        self.unused = {name: sets[name] for name in sets if not taken_over[name.partition("[")[0]]}
        workers = [f"num_workers={args.dataloader_num_workers}"] if args.dataloader_num_workers else []
        dropped = ["drop_last=True"] if args.dataloader_drop_last else []
        self.loading = ", ".join(["collate_fn=data_collator", *workers, *dropped])

    def source(self) -> str:
        """The whole loop without the script's own lines."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        scope = {"args": self.args, "stopping": self.settings.stopping, "strategy": self.args.train_sampling_strategy}
        return formatted(environment.get_template("loop.py.jinja").render(s=self, **scope))

    def names(self) -> set[str]:
        """The names that the loop binds, so that the script must not bind them to something else."""
        names = {"train", "evaluate", *(override.function for override in self.overrides.values())}
        names |= set(self.helpers)
        helpers = {"one_ahead": self.probe.draws, "steps_of": self.accumulates, "without": self.extra_keys}
        return names | {name for name, is_there in helpers.items() if is_there}

    def call(self) -> dict[str, Any]:
        """The arguments that `train` is called with at the script's door, by name."""
        trainer = self.trainer
        plain = (trainer.model, trainer.processing_class, trainer.train_dataset, trainer.eval_dataset)
        return {**dict(zip(PLAIN, plain, strict=True)), **self.extras}

    # What stands in the text ----------------------------------------------------------------------

    @property
    def collator(self) -> str:
        """The collator that Trainer takes where it is given none."""
        from transformers import DataCollatorWithPadding

        pads = isinstance(self.trainer.data_collator, DataCollatorWithPadding)
        return "DataCollatorWithPadding(tokenizer)" if pads else "default_data_collator"

    def lengths(self, name: str) -> str:
        """The sampler's argument that says from where it takes the examples' lengths."""
        column, columns = self.args.length_column_name, getattr(getattr(self.trainer, name), "column_names", [])
        if column in columns and column not in self.probe.unused.get(name, []):
            return f'lengths={name}["{column}"]'
        tokenizer = self.trainer.processing_class
        return f"model_input_name={tokenizer.model_input_names[0] if tokenizer else 'input_ids'!r}"

    def batches(self, loader: str) -> str:
        is_ahead = self.probe.draws and (self.probe.is_prepared or loader == "eval_loader")
        return f"one_ahead({loader})" if is_ahead else loader

    @property
    def to_device(self) -> str:
        if not self.probe.is_plain:
            return "batch = send_to_device(batch, device)"
        moved = "batch.to(device)" if self.probe.is_encoding else None
        return f"batch = {moved or '{name: value.to(device) for name, value in batch.items()}'}"

    @property
    def is_causal(self) -> bool:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        return type(self.trainer.model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()

    @property
    def optimizer(self) -> str:
        kind, arguments = self.settings.optimizer()
        defaults = {parameter.name: parameter.default for parameter in inspect.signature(kind).parameters.values()}
        if not self.args.weight_decay and defaults.get("weight_decay"):
            arguments = {**arguments, "weight_decay": 0.0}
        # The learning rate also where it is torch's own default: a reader looks for it.
        changed = ", ".join(
            f"{name}={value!r}" for name, value in arguments.items() if name == "lr" or value != defaults.get(name)
        )
        return f"{name_of(kind)}(parameters, {changed})"

    @property
    def scheduler(self) -> str:
        """Empty where the script has given a scheduler."""
        if "create_scheduler" in self.overrides:
            return self.overrides["create_scheduler"].call
        if self.trainer.lr_scheduler is not None:
            return ""
        args, kind = self.args, getattr(self.args.lr_scheduler_type, "value", self.args.lr_scheduler_type)
        warmup = args.get_warmup_steps(self.settings.max_steps)
        if kind == "linear" and not warmup:
            return "LambdaLR(optimizer, lambda step: (max_steps - step) / max_steps)"
        own = f", scheduler_specific_kwargs={args.lr_scheduler_kwargs!r}" if args.lr_scheduler_kwargs else ""
        return f'get_scheduler("{kind}", optimizer, {warmup}, max_steps{own})'

    @property
    def checkpointing(self) -> str:
        """The arguments of `activation_checkpointing_enable`, divided as `Trainer` divides them."""
        layers = dict(getattr(self.args, "activation_checkpointing_kwargs", None) or {})
        own = [f"{name}={layers.pop(name)!r}" for name in ("every_n_layers", "offload") if name in layers]
        return ", ".join([*([f"activation_checkpointing_kwargs={layers!r}"] if layers else []), *own])

    @property
    def ends_in_epoch(self) -> str:
        """The condition under which the training ends inside an epoch; empty where it cannot."""
        tests, stopping = ["step == max_steps"] if self.settings.is_cut_short else [], self.settings.stopping
        if stopping and self.args.eval_strategy.value == "steps":
            tests += [f"worse >= {stopping.early_stopping_patience}"]
        return " or ".join(tests)

    def logs_when(self, strategy: str) -> str:
        """A condition; `always`; or empty, where it is never due by steps or by epochs. The next two likewise."""
        own = self.args.logging_strategy.value == strategy
        if strategy == "epoch":
            return "always" if own else ""
        tests = [f"step % {self.settings.every('logging_steps')} == 0"] if own else []
        return " or ".join([*tests, *(["step == 1"] if self.args.logging_first_step else [])])

    def evaluates_when(self, strategy: str, done: str) -> str:
        if self.args.eval_strategy.value != strategy:
            return ""
        in_steps, delay = strategy == "steps", self.args.eval_delay
        tests = [f"(step % {self.settings.every('eval_steps')} == 0 or step == max_steps)"] if in_steps else []
        tests += [f"{'step' if in_steps else done} >= {delay}"] if delay else []
        return " and ".join(tests) or "always"

    def saves_when(self, strategy: str) -> str:
        if not self.keeps_best or self.args.save_strategy.value != strategy:
            return ""
        if strategy == "epoch":
            return "best_step == step"
        return f"best_step == step and (step % {self.settings.every('save_steps')} == 0 or step == max_steps)"

    @property
    def evaluate_extras(self) -> str:
        """The further arguments of `evaluate`, as text in a list of arguments."""
        names = ["compute_metrics", "preprocess_logits_for_metrics"] if self.has_metrics else []
        names = [name for name in [*names, "compute_loss_func"] if name in self.extras]
        names += ["smoother"] if self.kind == "smoother" else []
        names += [*self.override.values, *self.override.extras] if self.override else []
        return "".join(f", {name}" for name in names)

    @property
    def labels(self) -> str:
        names = self.probe.labels
        return f'batch["{names[0]}"]' if len(names) == 1 else f"tuple(batch[name] for name in {tuple(names)})"

    @property
    def scores(self) -> str:
        """The expression that takes from the model's outputs what metrics are computed from."""
        names = self.probe.scores
        if self.probe.output == "place":
            return "outputs[1]" if len(names) == 1 else "outputs[1:]"
        if len(names) == 1:
            return f"outputs.{names[0]}" if self.probe.output == "attribute" else f'outputs["{names[0]}"]'
        return f"tuple(outputs[name] for name in {tuple(names)})"
