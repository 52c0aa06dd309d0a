"""`sameloop eject`: the loop of a set of settings, as a script to keep, to read and to change.

The full loop is specialized (`fold.py`), its loading is spelled out (`standalone`), and the result is a plain
script: `train(model, tokenizer, train_dataset, eval_dataset)`, which `sameloop compare --loop` takes as it is, and a
`main` that loads, trains and saves.
"""

from __future__ import annotations

import re
import shlex
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import libcst as cst

from benchmarks.pages.alignment import phase_of
from benchmarks.pages.expressions import NOTHING, code_of, literal, value_of
from benchmarks.pages.fold import Specializer, formatted
from benchmarks.pages.names import names_in
from benchmarks.pages.run_facts import RunFacts
from benchmarks.pages.statements import WIDTH, name_of, with_body
from shared.config import RunConfig, job_name, option
from shared.data import Subsets, load_subsets
from shared.errors import SameLoopError, shown
from shared.presets import HUB_REVISIONS
from shared.releases import CHANGED_DEFAULTS, INSTALLED, Release, check_release, in_release
from shared.running.command import write_file
from shared.running.script import LoopScript, package_script
from shared.sources.embedded import MODEL_SHAPES, REVIEW_SOURCES
from shared.sources.labels import Classes, classes_of, ids_of
from shared.sources.origin import SAVED, files_of, load_splits, text_folders
from shared.sources.readers import file_format, separator_of
from shared.sources.splits import Columns, Split, renaming

# Around a run of several processes, each with a GPU of its own where there are GPUs.
MEETING = (
    "on_gpu = torch.cuda.is_available()\n",
    'if on_gpu:\n    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))\n',
    'distributed.init_process_group("nccl" if on_gpu else "gloo")\n',
)
PARTING = ("distributed.destroy_process_group()\n",)
# The loop with `accelerate`.
ACCELERATED = Path(__file__).with_name("accelerated.py")
SETUP = ("seed", "data", "model")
SAVING = {"model", "tokenizer", "output_dir", "is_first_process", "PartialState"}
PARAMETERS = ("model", "tokenizer", "train_dataset", "eval_dataset")
# Arguments of `TrainingArguments` in the Trainer loop that are no settings, and change no number of a single process.
CHANGE_NOTHING = {"dataloader_pin_memory", "ddp_find_unused_parameters"}


def eject(
    config: RunConfig,
    loop: str = "manual",
    world_size: int = 1,
    file: Path | None = None,
    release: Release = INSTALLED,
) -> str:
    """The script of these settings.

    Args:
        config: the settings.
        loop: `manual`, `accelerate`, or `trainer`, through `Trainer` with the arguments that are no defaults.
        world_size: how many processes `torchrun` will start.
        file: where the script will be; its name is the output folder's, too.
        release: of transformers, whose names and behaviour the script follows.

    Raises:
        SameLoopError: the settings name a file of the user's as the loop, data that cannot be loaded, or what
            that release does not have yet.
    """
    if config.loop is not None:
        raise SameLoopError(f"--loop {config.loop}: eject writes a loop itself; leave it out")
    check_release(config.settings, release)
    if loop == "accelerate" and (problem := beyond_accelerate(config, world_size)):
        raise SameLoopError(problem)
    name = file.name if file is not None else "my_loop.py"
    facts = RunFacts.of(config, world_size, loop == "accelerate")
    facts.settings |= _data_values(config)
    facts.release = release
    facts.names["output_dir"] = cst.SimpleString(f'"{Path(name).stem}"')
    facts.no_ops |= {"progress.update", "progress.close"}
    facts.kept_arguments |= set(CHANGED_DEFAULTS)
    facts.left_out |= CHANGE_NOTHING if world_size == 1 else {"dataloader_pin_memory"}
    specializer = Specializer(accelerated_script() if loop == "accelerate" else package_script(loop), facts)
    functions = {node.name.value: node for node in specializer.script.body if isinstance(node, cst.FunctionDef)}
    loop_and_main = _loop_and_main(functions.pop("train"), world_size)
    statements = {name_of(node): node for node in specializer.module([*loop_and_main, *functions.values()])}
    imports = specializer.helpers.imports(statements.values())
    main = statements.pop("main")
    script = cst.Module([*statements.values()])
    head = f'"""{_docstring(config, loop, world_size, name)}"""'
    run = cst.Module([cst.parse_statement('if __name__ == "__main__":\n    pass\n').with_changes(body=main.body)])
    body, run = (part.visit(_InRelease(release)).code for part in (script, run))
    # No empty lines inside functions: the phases' comments separate the blocks.
    body, run = (re.sub(r"\n\s*\n(?=[ \t])", "\n", part) for part in (body, run))
    source = formatted(f"{head}\n\n{imports}\n\n\n{body}\n\n{run}")
    if "config" in names_in(cst.parse_module(source)).read:
        line = next(line.strip() for line in source.splitlines() if re.search(r"\bconfig\b", line))
        raise SameLoopError(f"eject cannot specialize this line of the loop, which is a mistake of SameLoop's: {line}")
    return source


def accelerated_script() -> LoopScript:
    """The loop with `accelerate`, in the manual loop's place among its helper modules."""
    script = package_script("manual")
    return replace(script, files={**script.files, script.name: ACCELERATED.read_bytes()})


def beyond_accelerate(config: RunConfig, world_size: int = 1) -> str | None:
    """Why a script with `accelerate` does not do what these settings say, in one line; None if it does."""
    per_step = config.gradient_accumulation_steps
    if world_size > 1:
        return "--nproc-per-node: a script with accelerate runs in any number of processes; leave it out"
    for name in ("fp16", "torch_compile", "load_best_model_at_end"):
        if getattr(config, name):
            return f"{option(name)}: not with --accelerate, where it is not proven equal to Trainer; leave it out"
    if config.save_strategy != "no":
        return "--save-strategy: a script with accelerate saves the model once, at its end; leave it out"
    if per_step & (per_step - 1):
        return (
            f"--gradient-accumulation-steps {per_step}: accelerate divides by it again, which would round the "
            "losses; with --accelerate take 2, 4, 8 or another power of two"
        )
    return None


def write_script(source: str, file: Path) -> None:
    """Write a script to a new file.

    Raises:
        SameLoopError: it exists, it cannot be written, or Python would import it in the place of a package.
    """
    if re.search(rf"^(from|import) {re.escape(file.stem)}\b", source, re.MULTILINE):
        raise SameLoopError(f"{file}: the script imports `{file.stem}`, and would import itself; give another name")
    write_file(file, source, new=True, flag="-o")


def _loop_and_main(train: cst.FunctionDef, world_size: int) -> tuple[cst.FunctionDef, cst.FunctionDef]:
    """A script's `train` in two: the loop, which gets model and data, and a `main` that loads and saves around it."""
    body = train.body.body[1:]
    phases = _phases(body)
    loaded = phases.index("model")
    first = next(number for number in range(loaded, len(body)) if phases[number] not in SETUP[1:])
    saving = [
        statement
        for phase, statement in zip(phases, body, strict=True)
        if phase == "save" and names_in(statement).read.keys() <= SAVING
    ]
    rest = [statement for statement in body[first:] if statement not in saving]
    params = cst.Parameters([cst.Param(cst.Name(name)) for name in PARAMETERS])
    text = '"""Fine-tune the model, evaluate it; returns what was logged."""'
    loop = with_body(train, [cst.parse_statement(text), *rest], params=params)
    call = cst.parse_statement(f"train({', '.join(PARAMETERS)})\n")
    meeting, parting = (
        [cst.parse_statement(text) for text in texts if world_size > 1] for texts in (MEETING, PARTING)
    )
    main = cst.parse_statement("def main() -> None:\n    pass\n")
    body = [*meeting, *body[:first], call, *saving, *parting]
    return loop, with_body(main, body, leading_lines=[cst.EmptyLine(indent=False)] * 2)


def _phases(body: list[cst.BaseStatement]) -> list[str]:
    """The phase that each statement belongs to, according to the comments above them."""
    phases, phase = [], ""
    for statement in body:
        for line in statement.leading_lines:
            if line.comment is not None:
                phase = phase_of(line.comment.value) or phase
        phases.append(phase)
    return phases


def _data_values(config: RunConfig) -> dict[str, Any]:
    """What a script that loads these reviews needs: their format, columns, splits and classes.

    Raises:
        SameLoopError: `datasets`, with which the script loads them, reads them differently.
    """
    values: dict[str, Any] = dict.fromkeys(
        ("dataset_format", "data_files", "separator", "renamed", "train_split", "eval_split", "classes")
    )
    values |= {"is_renamed": False, "is_mapped": False, "is_named": False}
    values["model_revision"] = config.model_revision or HUB_REVISIONS.get(config.model)
    values["dataset_revision"] = config.dataset_revision or HUB_REVISIONS.get(config.dataset)
    if Path(config.model).expanduser().is_dir():
        values["model_revision"] = None
    if config.dataset in (*REVIEW_SOURCES, *HUB_REVISIONS):
        is_hub = config.dataset in HUB_REVISIONS
        splits = {"dataset_format": "hub", "train_split": "train", "eval_split": "test"} if is_hub else {}
        return {**values, **splits, "num_labels": 2}
    subsets = load_subsets(config)
    path = Path(config.dataset).expanduser()
    if path.is_dir() and text_folders(path):
        raise _reads_otherwise(config, "each text is a file")
    values |= {"train_split": "train", "eval_split": subsets.eval_split, "num_labels": len(subsets.labels)}
    values |= {"is_named": True, "id2label": dict(enumerate(subsets.labels))}
    values["label2id"] = {label: number for number, label in values["id2label"].items()}
    if path.is_dir() and any((path / name).is_file() for name in SAVED):
        values["dataset_format"] = "folder"
        values["train_split"] = "train" if (path / "dataset_dict.json").exists() else None
    elif path.exists():
        values |= _file_values(path, subsets)
    else:
        values["dataset_format"] = "hub"
    with tempfile.TemporaryDirectory() as cache:
        loaded = _loaded(config, values, cache)
        columns = renaming(subsets.columns)
        if columns:
            values["renamed"] = columns
            loaded = loaded.rename_columns(columns)
        split = Split(loaded["train"].select_columns(["text", "label"]), Columns("text", "label"))
        classes = classes_of(split, f"--dataset {config.dataset}")
        ids = dict(zip(split.column("label"), ids_of(split, classes, ""), strict=True))
        if any(type(label) is not int or label != number for label, number in ids.items()):
            values["classes"] = dict(sorted(ids.items(), key=lambda pair: pair[1]))
        _check_equal(config, load_splits(config)["train"](), split, classes)
    return {**values, "is_renamed": bool(values["renamed"]), "is_mapped": values["classes"] is not None}


def _file_values(path: Path, subsets: Subsets) -> dict[str, Any]:
    """The arguments with which `datasets` loads a file, or a folder of files."""
    files = {name: [str(file) for file in paths] for name, paths in files_of(path).items()} if path.is_dir() else {}
    used = {name: files[name] for name in ("train", subsets.eval_split) if name in files}
    first = Path(used["train"][0]) if used else path
    values: dict[str, Any] = {"dataset_format": file_format(first)}
    values["data_files"] = {name: paths[0] if len(paths) == 1 else paths for name, paths in used.items()} or str(path)
    if values["dataset_format"] == "csv":
        separator = separator_of(first, subsets.columns)
        values["separator"] = None if separator == "," else separator
    return values


def _loaded(config: RunConfig, values: dict[str, Any], cache: str) -> Any:
    """The data that the script's line loads, as `datasets` reads it now."""
    import datasets

    try:
        if values["dataset_format"] == "folder":
            loaded = datasets.load_from_disk(config.dataset)
            return loaded if isinstance(loaded, datasets.DatasetDict) else datasets.DatasetDict(train=loaded)
        if values["dataset_format"] == "hub":
            return datasets.load_dataset(config.dataset, config.dataset_config, revision=values["dataset_revision"])
        options = {} if values["separator"] is None else {"sep": values["separator"]}
        return datasets.load_dataset(
            values["dataset_format"], data_files=values["data_files"], cache_dir=cache, **options
        )
    except Exception as error:  # the readers raise almost anything on a file that they do not expect
        raise _reads_otherwise(config, shown(error, 80)) from None


def _check_equal(config: RunConfig, ours: Split, theirs: Split, classes: Classes) -> None:
    same = ours.column("text") == theirs.column("text")
    if not same or ids_of(ours, classes_of(ours, ""), "") != ids_of(theirs, classes, ""):
        raise _reads_otherwise(config, "other reviews or labels come out")


def _reads_otherwise(config: RunConfig, why: str) -> SameLoopError:
    return SameLoopError(
        f"--dataset {config.dataset}: `datasets`, with which an ejected script loads it, does not read it as it is "
        f"({why}); save it as Parquet, for example with pandas, and eject with that"
    )


def _docstring(config: RunConfig, loop: str, world_size: int, name: str) -> str:
    """The script's docstring: what it does, how to run it, and how to compare it."""
    # What a run leaves on the disk changes no number, and `compare` keeps what it needs.
    plain = config.model_copy(update={"save_strategy": RunConfig.build(config.preset).save_strategy})
    settings = " ".join(map(shlex.quote, (config if config.load_best_model_at_end else plain).flags()))
    suffix = {"manual": ", by hand", "accelerate": " with `accelerate`"}
    runs = f"python {name}" if world_size == 1 else f"torchrun --nproc-per-node {world_size} {name}"
    processes = f" --nproc-per-node {world_size}" if world_size > 1 else ""
    if loop == "trainer":
        lines = [
            f"Fine-tune {job_name(config, None)}, through Hugging Face's `Trainer`.",
            "",
            "Only the arguments are given that differ from `TrainingArguments`' own, or have changed",
            "their default between releases of transformers.",
        ]
    else:
        lines = [
            f"Fine-tune {job_name(config, None)}{suffix[loop]}, to `Trainer`'s weights bit for bit.",
            "",
            *_wrapped("Edit it, and see what that changes:", f"sameloop compare --loop {name} {settings}{processes}"),
        ]
    if loop == "accelerate":
        lines += [f"It runs in one process, python {name}, or in many: accelerate launch {name}"]
    if world_size > 1:
        lines += [f"It runs in {world_size} processes: {runs}"]
    if config.dataset in REVIEW_SOURCES or config.model in MODEL_SHAPES:
        lines += ["Reviews and weights that pip carries are loaded by SameLoop, `shared.sources.embedded`."]
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(sentence: str, command: str) -> list[str]:
    """A sentence and a command behind it or below, in lines of the script's width, as a shell takes them."""
    if len(sentence) + 1 + len(command) <= WIDTH:
        return [f"{sentence} {command}"]
    lines = textwrap.wrap(command, WIDTH - 10, break_long_words=False, break_on_hyphens=False)
    indents = ["    ", *["        "] * (len(lines) - 1)]
    joined = " \\\n".join(indent + line for indent, line in zip(indents, lines, strict=True))
    return [sentence, *joined.splitlines()]


class _InRelease(cst.CSTTransformer):
    """Gives arguments the names that they have in a release of transformers."""

    def __init__(self, release: Release) -> None:
        super().__init__()
        self.release = release

    def leave_Call(self, old: cst.Call, new: cst.Call) -> cst.Call:
        owner = code_of(new.func).rpartition(".")[2]
        return new.with_changes(args=[self._named(owner, arg) for arg in new.args])

    def _named(self, owner: str, arg: cst.Arg) -> cst.Arg:
        if arg.keyword is None:
            return arg
        known = value_of(arg.value)
        value = arg.value if known is NOTHING else known
        ((name, theirs),) = in_release(owner, {arg.keyword.value: value}, self.release).items()
        return arg.with_changes(keyword=cst.Name(name), value=arg.value if theirs is value else literal(theirs))
