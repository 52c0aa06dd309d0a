"""The loop that a script's Trainer stands for, written out: `train` and `evaluate`, and nothing that is off."""

from __future__ import annotations

import inspect
from typing import Any

from benchmarks.pages.fold import formatted
from benchmarks.port.override import Override
from benchmarks.port.settings import Settings

# As many lines of imports as any loop could need; those that it does not are taken out again.
IMPORTS = """
import re

import torch
import transformers
from accelerate.utils import convert_outputs_to_fp32, send_to_device
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding, EvalPrediction, default_data_collator, enable_full_determinism
from transformers import get_scheduler, set_seed
from transformers.trainer_pt_utils import LabelSmoother, LengthGroupedSampler, nested_concat, nested_numpify
"""
NEVER_DECAY = """
# Parts of names of parameters that never decay, as in Trainer.
NEVER_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|\\.)norm($|\\.)|_norm($|\\.)")
"""
ONE_AHEAD = '''
def one_ahead(loader):
    """The batches, each when the next one is made: Trainer looks ahead, and its random numbers are drawn by then."""
    batches = iter(loader)
    batch = next(batches)
    for following in batches:
        yield batch
        batch = following
    yield batch
'''
STEPS_OF = '''
def steps_of(batches, size):
    """The batches of each step, `size` of them; an epoch's last step may have fewer."""
    step = []
    for batch in batches:
        step.append(batch)
        if len(step) == size:
            yield step
            step = []
    if step:
        yield step
'''
EVALUATE = "# Evaluate: no gradients, no dropout, and every example counts once."
PLAIN = ("model", "tokenizer", "train_dataset", "eval_dataset")


def indented(lines: list[str], by: int = 1) -> list[str]:
    return ["    " * by + line if line else line for line in lines]


class Loop:
    """Writes the loop of one script's settings.

    Args:
        settings: as they were read.

    Attributes:
        extras: what `train` is given besides the four that every loop has, in order.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.args, self.probe = settings, settings.args, settings.probe
        self.trainer = settings.captured.trainer
        self.kind = settings.loss_kind
        cls = settings.override_of("compute_loss")
        self.override = Override.of(cls, settings) if cls else None
        if self.override:
            settings.refusals += self.override.refusals
            settings.extras |= self.override.extras
        self.extras = list(settings.extras)
        self.accumulates = self.args.gradient_accumulation_steps > 1
        self.evaluates = self.args.eval_strategy.value != "no" or self.args.eval_on_start
        self.has_metrics = bool(
            "compute_metrics" in settings.extras and self.probe.labels and not self.args.prediction_loss_only
        )
        self.keeps_best = bool(self.args.load_best_model_at_end and settings.best_metric)
        self.breaks = settings.is_cut_short or (settings.stopping and self.args.eval_strategy.value == "steps")

    # The whole ------------------------------------------------------------------------------------

    def source(self) -> str:
        """All of it but the script's own lines."""
        parts = [IMPORTS, NEVER_DECAY if self.args.weight_decay and not self._own_optimizer() else ""]
        parts += [ONE_AHEAD if self.probe.draws else "", STEPS_OF if self.accumulates else ""]
        parts += [self.override.source if self.override else ""]
        parts += ["\n".join(self._train()), "\n".join(self._evaluate()) if self.evaluates else ""]
        return formatted("\n\n\n".join(filter(None, parts)))

    def names(self) -> set[str]:
        """What the loop binds, which the script must not bind otherwise."""
        bound = {"train", "evaluate"}
        bound |= {"compute_loss", "model_loss"} if self.override else set()
        return bound | ({"one_ahead"} if self.probe.draws else set()) | ({"steps_of"} if self.accumulates else set())

    def _train(self) -> list[str]:
        given = ", ".join([*PLAIN, *(["*"] if self.extras else []), *(f"{name}=None" for name in self.extras)])
        return [
            f"def train({given}):",
            '    """Fine-tune the model, evaluate it; returns what was logged."""',
            *indented([*self._begin(), *self._data(), *self._optimizer(), *self._epochs(), *self._end()]),
        ]

    def _begin(self) -> list[str]:
        lines = []
        if getattr(self.trainer, "_sameloop_is_fresh", True):
            seed = "enable_full_determinism" if self.args.full_determinism else "set_seed"
            lines.append(f"{seed}({self.args.seed})  # Seed: dropout draws from here on.")
        if "model_init" in self.extras:
            lines += ["# Trainer makes the model once more, which draws random numbers as the first time did."]
            lines += ["model.load_state_dict(model_init().state_dict())"]
        lines += ["# Device: the GPU if there is one."]
        if self.args.use_cpu:
            lines += ['device = torch.device("cpu")']
        else:
            lines += ["use_gpu = torch.accelerator.is_available()"]
            lines += ['device = torch.accelerator.current_accelerator() if use_gpu else torch.device("cpu")']
        lines += ["model.to(device)"]
        config = getattr(self.trainer.model, "config", None)
        if getattr(config, "use_cache", None) is False and self.trainer.model.can_generate():
            lines += ["model.config.use_cache = False  # Trainer sets it: nothing is generated here."]
        if self.args.activation_checkpointing or self.args.gradient_checkpointing:
            lines += ["model.activation_checkpointing_enable()  # computed again in the backward pass: less memory"]
        if self.args.bf16:
            lines += ["# 16 bits: matrix products run in bfloat16, and what the model gives is float32 again."]
            lines += ["forward = model.forward"]
            lines += ["autocast = torch.autocast(device.type, dtype=torch.bfloat16)"]
            lines += ["model.forward = convert_outputs_to_fp32(autocast(forward))"]
        return lines

    # Data -----------------------------------------------------------------------------------------

    def _data(self) -> list[str]:
        args, lines = self.args, self._columns()
        if "data_collator" not in self.extras:
            from transformers import DataCollatorWithPadding

            pads = isinstance(self.trainer.data_collator, DataCollatorWithPadding)
            lines += [f"data_collator = {'DataCollatorWithPadding(tokenizer)' if pads else 'default_data_collator'}"]
        options = ["collate_fn=data_collator"]
        options += [f"num_workers={args.dataloader_num_workers}"] if args.dataloader_num_workers else []
        options += ["drop_last=True"] if args.dataloader_drop_last else []
        kept, sampler = ", ".join(options), ""
        size, strategy = args.train_batch_size, args.train_sampling_strategy
        if strategy == "random":
            lines += ["# Shuffle: the order is drawn apart, or dropout's draws would change it."]
            lines += ["order = torch.Generator()"]
            sampler = "sampler=RandomSampler(train_dataset, generator=order), "
        elif strategy == "group_by_length":
            lines += ["# Shuffle: examples of like length lie together, so that little is padded."]
            by = size * args.gradient_accumulation_steps
            lines += [f"sampler = LengthGroupedSampler({by}, train_dataset, {self._lengths('train_dataset')})"]
            sampler = "sampler=sampler, "
        lines += [
            "# Batch: cut the order into batches.",
            f"train_loader = DataLoader(train_dataset, {size}, {sampler}{kept})",
        ]
        if self.evaluates:
            lines += self._eval_loaders(kept)
        return lines

    def _columns(self) -> list[str]:
        lines = []
        for name, columns in self.probe.unused.items():
            if columns and (self.evaluates or name == "train_dataset"):
                lines.append(f"{name} = {name}.remove_columns({columns})  # the model takes none of them")
        if any(name.startswith("eval_dataset[") for name, columns in self.probe.unused.items() if columns):
            lines.insert(0, "eval_dataset = dict(eval_dataset)")
        if self.probe.extra_keys and "data_collator" in self.extras:
            lines += [
                f"unused = {self.probe.extra_keys}  # the model takes none of them",
                "collate = data_collator",
                "def data_collator(examples):",
                "    kept = [{key: each[key] for key in each if key not in unused} for each in examples]",
                "    return collate(kept)",
            ]
        return lines

    def _lengths(self, name: str) -> str:
        column = self.args.length_column_name
        columns = getattr(getattr(self.trainer, name), "column_names", [])
        if column in columns and column not in self.probe.unused.get(name, []):
            return f'lengths={name}["{column}"]'
        tokenizer = self.trainer.processing_class
        return f"model_input_name={tokenizer.model_input_names[0]!r}" if tokenizer else "model_input_name='input_ids'"

    def _eval_loaders(self, kept: str) -> list[str]:
        size = self.args.eval_batch_size
        if self.settings.eval_names:
            return [
                f"eval_loaders = {{name: DataLoader(each, {size}, {kept}) for name, each in eval_dataset.items()}}"
            ]
        if self.args.train_sampling_strategy != "group_by_length":
            return [f"eval_loader = DataLoader(eval_dataset, {size}, {kept})"]
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return [
            "eval_order = torch.Generator()  # seeded before every evaluation",
            f"eval_sampler = LengthGroupedSampler({size}, eval_dataset, {self._lengths('eval_dataset')}, "
            "generator=eval_order)",
            f"eval_loader = DataLoader(eval_dataset, {size}, sampler=eval_sampler, {kept})",
            f"eval_seed = {seed}",
        ]

    # Optimizer ------------------------------------------------------------------------------------

    def _own_optimizer(self) -> bool:
        return "optimizers" in self.extras

    def _optimizer(self) -> list[str]:
        settings, args = self.settings, self.args
        how = (
            "set in the arguments"
            if args.max_steps > 0
            else f"{args.num_train_epochs:g} x {settings.steps_per_epoch} steps"
        )
        lines = [f"max_steps = {settings.max_steps}  # Epoch: {how}."]
        if self._own_optimizer():
            lines += ["optimizer, scheduler = optimizers  # Optimizer: the script's own."]
        elif args.weight_decay:
            lines += [
                "# Optimizer: biases and norms never decay.",
                "norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]",
                "spared = {parameter for norm in norms for parameter in norm.parameters()}",
                "decayed, others = [], []",
                "for name, parameter in model.named_parameters():",
                "    if parameter.requires_grad:",
                "        never = parameter in spared or NEVER_DECAY.search(name.lower())",
                "        (others if never else decayed).append(parameter)",
                f'parameters = [{{"params": decayed, "weight_decay": {args.weight_decay}}}, '
                '{"params": others, "weight_decay": 0.0}]',
                self._optimizer_line(),
            ]
        else:
            lines += ["# Optimizer: no weight decays; torch's AdamW by itself lets all, by 0.01."]
            lines += ["parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]"]
            lines += [self._optimizer_line()]
        if self.trainer.lr_scheduler is None:
            lines += self._schedule()
        if self.kind == "smoother":
            lines += [f"smoother = LabelSmoother(epsilon={args.label_smoothing_factor})"]
        return lines

    def _optimizer_line(self) -> str:
        kind, given = self.trainer.get_optimizer_cls_and_kwargs(self.args, self.trainer.model)
        defaults = {each.name: each.default for each in inspect.signature(kind).parameters.values()}
        if not self.args.weight_decay and defaults.get("weight_decay"):
            given = {**given, "weight_decay": 0.0}
        kept = ", ".join(f"{name}={value!r}" for name, value in given.items() if value != defaults.get(name))
        module = "torch.optim" if kind.__module__.startswith("torch.optim") else "transformers"
        return f"optimizer = {module}.{kind.__name__}(parameters, {kept})"

    def _schedule(self) -> list[str]:
        args, kind = self.args, self.args.lr_scheduler_type
        kind, warmup = getattr(kind, "value", kind), args.get_warmup_steps(self.settings.max_steps)
        if kind == "linear" and not warmup:
            return [
                "# Schedule: the learning rate falls in a straight line to 0.",
                "scheduler = LambdaLR(optimizer, lambda step: (max_steps - step) / max_steps)",
            ]
        own = f", scheduler_specific_kwargs={args.lr_scheduler_kwargs!r}" if args.lr_scheduler_kwargs else ""
        return [
            f"# Schedule: {warmup} steps of warm-up." if warmup else "# Schedule.",
            f'scheduler = get_scheduler("{kind}", optimizer, {warmup}, max_steps{own})',
        ]

    # Steps ----------------------------------------------------------------------------------------

    @property
    def _items(self) -> str:
        """The name of the number of labels in a step, where the loss is divided by it."""
        uses = {
            "override": bool(self.override and self.override.uses_items),
            "function": True,
            "smoother": bool(self.trainer.model_accepts_loss_kwargs),
            "model": self.probe.counts,
        }
        return "num_items" if self.settings.is_counted and uses[self.kind] else ""

    def _count(self) -> str:
        shifted = "[..., 1:]" if self.trainer._loss_shifts_labels else ""
        return f'batch["labels"]{shifted}.ne(-100).sum()'

    def _to_device(self) -> str:
        if not self.probe.is_plain:
            return "batch = send_to_device(batch, device)"
        if self.probe.is_encoding:
            return "batch = batch.to(device)"
        return "batch = {name: value.to(device) for name, value in batch.items()}"

    def _forward(self, with_outputs: bool) -> list[str]:
        """What gives `loss`, and with it `outputs`."""
        items = self._items
        if self.override:
            target = "loss, outputs" if with_outputs else "loss"
            return [f"{target} = compute_loss({self.override.arguments(with_outputs, items)})"]
        told = f", num_items_in_batch={items}" if items else ""
        if self.kind == "function":
            told = f", num_items_in_batch={items or None}"
            lines = ['labels = batch.pop("labels", None)', "outputs = model(**batch)"]
            return [*lines, f"loss = compute_loss_func(outputs, labels{told})"]
        if self.kind == "smoother":
            from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

            is_causal = type(self.trainer.model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
            lines = ['labels = batch.pop("labels")', f"outputs = model(**batch{told if self.probe.counts else ''})"]
            return [*lines, f"loss = smoother(outputs, labels{', shift_labels=True' if is_causal else ''}{told})"]
        loss = {"attribute": "outputs.loss", "key": 'outputs["loss"]', "place": "outputs[0]", None: "outputs.loss"}
        if not with_outputs and self.probe.output == "attribute":
            return [f"loss = model(**batch{told}).loss"]
        return [f"outputs = model(**batch{told})", f"loss = {loss[self.probe.output]}"]

    def _pass(self) -> list[str]:
        """From a batch to its gradients."""
        lines = ["model.train()  # Train mode: dropout on.", self._to_device(), *self._forward(with_outputs=False)]
        if self.accumulates and self.settings.is_divided:
            lines += ["loss = loss / len(batches)  # Loss: each batch gives its share."]
        elif self.accumulates and not self._items:
            lines += ["# Loss: not divided by the number of batches, as in Trainer (transformers#47688)."]
        return [
            *lines,
            "loss.backward()",
            "total_loss += loss.detach()",
            "del loss  # what it holds makes room for the next batch",
        ]

    def _step(self) -> list[str]:
        limit = f"{self.args.max_grad_norm}" if self.args.max_grad_norm else 'float("inf")'
        return [
            "# Clip: gradients that are longer than this, all together, are scaled down."
            if self.args.max_grad_norm
            else "# Norm: nothing is clipped.",
            f"grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), {limit})",
            'rate = optimizer.param_groups[0]["lr"]',
            "optimizer.step()",
            *([] if self.settings.follows_metric else ["scheduler.step()  # the learning rate of the next step"]),
            "model.zero_grad()  # all of its gradients, also those that no optimizer holds",
            "step += 1",
        ]

    def _epochs(self) -> list[str]:
        settings = self.settings
        first = ["total_loss = torch.tensor(0.0, device=device)", "step, step_logged, log_history = 0, 0, []"]
        names = [*(["best_metric", "best_step"] if self.keeps_best or settings.stopping else [])]
        names += ["best_weights"] if self.keeps_best else []
        first += [f"{' = '.join(names)} = None"] if names else []
        first += ["worse = 0"] if settings.stopping else []
        first += ["", "def log(line):", "    log_history.append(line)", "    print(line)", ""]
        if self.args.eval_on_start:
            first += self._evaluation("0", judges=False)
        body = []
        if self.args.train_sampling_strategy == "random":
            body += [f"order.manual_seed({settings.data_seed} + epoch)  # Shuffle: anew in every epoch."]
        batches = "one_ahead(train_loader)" if self.probe.draws else "train_loader"
        done = "epoch + number / len(train_loader)"
        inner = [*self._step(), *self._when("steps", done), *self._break("step == max_steps", in_step=True)]
        if self.accumulates:
            size = self.args.gradient_accumulation_steps
            items = f"num_items = sum({self._count()} for batch in batches).to(device)"
            body += [
                "number = 0",
                f"for batches in steps_of({batches}, {size}):",
                *indented([*([items] if self._items else []), "for batch in batches:", *indented(self._pass())]),
                *indented(["number += len(batches)", *inner]),
            ]
        else:
            items = f"num_items = {self._count()}.to(device)"
            body += [f"for number, batch in enumerate({batches}, start=1):"]
            body += indented([*([items] if self._items else []), *self._pass(), *inner])
        body += self._when("epoch", done if self.breaks else "epoch + 1")
        body += [f"if worse >= {settings.stopping.early_stopping_patience}:", "    break"] if settings.stopping else []
        return [*first, f"for epoch in range({settings.epochs}):", *indented(body)]

    def _break(self, ends: str, in_step: bool) -> list[str]:
        """Where the training ends inside an epoch."""
        tests = [ends] if self.settings.is_cut_short else []
        if self.settings.stopping and self.args.eval_strategy.value == "steps":
            tests += [f"worse >= {self.settings.stopping.early_stopping_patience}"]
        return [f"if {' or '.join(tests)}:", "    break"] if tests else []

    def _when(self, strategy: str, done: str) -> list[str]:
        """Log, evaluate and keep the best, as far as that is due by `steps` or by `epoch`."""
        args, lines, in_steps = self.args, list[str](), strategy == "steps"
        log_tests = (
            [f"step % {self.settings.every('logging_steps')} == 0"] if args.logging_strategy.value == "steps" else []
        )
        log_tests += ["step == 1"] if args.logging_first_step else []
        if in_steps and log_tests:
            lines += [f"if {' or '.join(log_tests)}:", *indented(self._log(done))]
        elif not in_steps and args.logging_strategy.value == "epoch":
            lines += self._log(done)
        if args.eval_strategy.value == strategy:
            every = f"step % {self.settings.every('eval_steps')} == 0 or step == max_steps" if in_steps else ""
            if args.eval_delay:
                delayed = f"{'step' if in_steps else done} >= {args.eval_delay}"
                every = f"({every}) and {delayed}" if every else delayed
            evaluation = self._evaluation(done, judges=True)
            lines += [f"if {every}:", *indented(evaluation)] if every else evaluation
        if self.keeps_best and args.save_strategy.value == strategy:
            keep = self._keep("best_step == step")
            every = f"step % {self.settings.every('save_steps')} == 0 or step == max_steps"
            lines += [f"if {every}:", *indented(keep)] if in_steps else keep
        return lines

    def _log(self, done: str) -> list[str]:
        return [
            "# Log: the mean loss since the last line, and this step's norm and rate.",
            "mean = total_loss.item() / (step - step_logged)",
            'values = {"loss": mean, "grad_norm": grad_norm.item(), "learning_rate": rate}',
            f'log({{**values, "epoch": {done}, "step": step}})',
            "total_loss.zero_()",
            "step_logged = step",
        ]

    def _keep(self, test: str) -> list[str]:
        return [
            "# Checkpoint: the best weights, to be put back at the end.",
            f"if {test}:",
            "    best_weights = {name: value.clone() for name, value in model.state_dict().items()}",
        ]

    def _evaluation(self, done: str, judges: bool) -> list[str]:
        settings = self.settings
        passed = "".join(f", {name}" for name in self._evaluate_extras())
        lines = ["# Evaluate: on examples that are not trained on."]
        if self.args.train_sampling_strategy == "group_by_length" and not settings.eval_names:
            lines += ["eval_order.manual_seed(eval_seed)"]
        if settings.eval_names:
            lines += [
                "metrics = {}",
                "for name, eval_loader in eval_loaders.items():",
                f'    found = evaluate(model, eval_loader, device{passed}, prefix=f"eval_{{name}}")',
                f'    log({{**found, "epoch": {done}, "step": step}})',
                "    metrics |= found",
            ]
        else:
            lines += [f"metrics = evaluate(model, eval_loader, device{passed})"]
            lines += [f'log({{**metrics, "epoch": {done}, "step": step}})']
        return [*lines, *(self._judge() if judges and settings.best_metric else [])]

    def _judge(self) -> list[str]:
        """What an evaluation decides."""
        settings, better = self.settings, ">" if self.args.greater_is_better else "<"
        lines = [f'metric = metrics["{settings.best_metric}"]']
        lines += ["scheduler.step(metric)  # Schedule: it follows the evaluation."] if settings.follows_metric else []
        if stopping := settings.stopping:
            least = stopping.early_stopping_threshold
            enough = f" and abs(metric - best_metric) > {least}" if least else ""
            lines += [
                f"# Stop early: after {stopping.early_stopping_patience} evaluations in a row that are no better.",
                f"worse = 0 if best_metric is None or (metric {better} best_metric{enough}) else worse + 1",
            ]
        if self.keeps_best or settings.stopping:
            lines += [
                f"if best_metric is None or metric {better} best_metric:",
                "    best_metric, best_step = metric, step",
            ]
        if self.keeps_best and self.args.save_strategy.value == "best":
            lines += self._keep("best_step == step")
        return lines

    def _end(self) -> list[str]:
        lines = []
        if self.keeps_best:
            lines += [
                "if best_weights is not None:  # Checkpoint: the best one.",
                "    model.load_state_dict(best_weights)",
            ]
        if self.args.bf16:
            lines += ["model.forward = forward"]
        return [*lines, "return log_history"]

    # Evaluation -----------------------------------------------------------------------------------

    def _evaluate_extras(self) -> list[str]:
        found: list[str] = []
        if self.has_metrics:
            found += [each for each in ("compute_metrics", "preprocess_logits_for_metrics") if each in self.extras]
        found += ["compute_loss_func"] if self.kind == "function" else []
        found += ["smoother"] if self.kind == "smoother" else []
        return found + (list(self.override.extras) if self.override else [])

    def _evaluate(self) -> list[str]:
        given = "".join(f", {name}" for name in self._evaluate_extras())
        several = ', prefix="eval"' if self.settings.eval_names else ""
        prefix = "{prefix}" if several else "eval"
        loader = "one_ahead(eval_loader)" if self.probe.draws else "eval_loader"
        head = [
            EVALUATE,
            "@torch.no_grad()",
            f"def evaluate(model, eval_loader, device{given}{several}):",
            "    model.eval()",
        ]
        has_loss = self.probe.labels or (not self.trainer.label_names and self.trainer.can_return_loss)
        if not has_loss:
            body = [f"for batch in {loader}:", f"    {self._to_device()}", "    model(**batch)"]
            return [*head, *indented([*body, "return {}  # without labels Trainer reports nothing"])]
        start = (
            "losses, predictions, references = [], [], []"
            if self.probe.is_joined
            else ("losses, predictions, references = [], None, None")
        )
        inner = [self._to_device(), self._size()]
        inner += [f"num_items = {self._count()}"] if self._items else []
        names = self.probe.labels
        if self.has_metrics:
            labels = f'batch["{names[0]}"]' if len(names) == 1 else f"tuple(batch[name] for name in {tuple(names)})"
            inner += [f"references_here = {labels}"]
        inner += self._forward(with_outputs=True)
        inner += ["losses.append(loss.mean().repeat(size))  # a small batch weighs less"]
        if self.has_metrics:
            inner += self._scores()
        lines = [start if self.has_metrics else "losses = []", f"for batch in {loader}:", *indented(inner)]
        lines += ["losses = torch.cat(losses).float().cpu().numpy()"]
        lines += ["# numpy's mean, as in Trainer: torch's adds up in another order, rounds otherwise."]
        mean = "losses.mean().item()"
        if not self.has_metrics:
            return [*head, *indented([*lines, f'return {{{"f" if several else ""}"{prefix}_loss": {mean}}}'])]
        lines += [f"loss = {mean}"]
        if self.probe.is_joined:
            joined = "predictions=torch.cat(predictions).cpu().numpy(), label_ids=torch.cat(references).cpu().numpy()"
        else:
            joined = "predictions=nested_numpify(predictions), label_ids=nested_numpify(references)"
        lines += [f"metrics = compute_metrics(EvalPrediction({joined}))"]
        lines += [f'return {{f"{prefix}_{{name}}": value for name, value in {{**metrics, "loss": loss}}.items()}}']
        return [*head, *indented(lines)]

    def _size(self) -> str:
        """How much a batch weighs in the mean loss."""
        from transformers import Seq2SeqTrainer

        if isinstance(self.trainer, Seq2SeqTrainer):
            return f"size = {self.args.eval_batch_size}  # Seq2SeqTrainer weighs a last batch as if it were full."
        return "size = len(next(iter(batch.values())))"

    def _scores(self) -> list[str]:
        """From the model's outputs to what metrics are computed from."""
        names = self.probe.scores
        if self.probe.output == "place":
            logits = "outputs[1]" if self.probe.scores == ["1"] else "outputs[1:]"
        elif len(names) == 1:
            logits = f"outputs.{names[0]}" if self.probe.output == "attribute" else f'outputs["{names[0]}"]'
        else:
            logits = f"tuple(outputs[name] for name in {tuple(names)})"
        lines = [f"logits = {logits}"]
        if "preprocess_logits_for_metrics" in self.extras:
            lines += ["logits = preprocess_logits_for_metrics(logits, references_here)"]
        if self.probe.is_joined:
            return [*lines, "predictions.append(logits)", "references.append(references_here)"]
        return [
            *lines,
            "# Batches of different lengths are filled up with -100.",
            "predictions = logits if predictions is None else nested_concat(predictions, logits)",
            "references = references_here if references is None else nested_concat(references, references_here)",
        ]


def call_of(loop: Loop) -> dict[str, Any]:
    """What `train` is called with at the script's door, by name."""
    trainer = loop.trainer
    plain = (trainer.model, trainer.processing_class, trainer.train_dataset, trainer.eval_dataset)
    return {**dict(zip(PLAIN, plain, strict=True)), **loop.settings.extras}
