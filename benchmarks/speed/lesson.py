"""A lesson in speed: what each dial buys at the same work, by the loop by hand, on the machine that it runs on.

The same reviews once with the plain loop and once with each change alone, every run in a process of its own, and all
figures from what the flight recorder writes. `sameloop speed --lesson` shows them; `make speed-lesson` makes
docs/speed.md of them.
"""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from benchmarks.mistakes.catalogue import Pieces, edited
from benchmarks.statistics import wilson
from shared import hardware
from shared.config import RunConfig, flag, job_name, show
from shared.errors import Interrupted, SameLoopError, shown
from shared.files import write_json
from shared.progress import announce
from shared.recording.record import RunRecord, training_seconds
from shared.running.children import end_family, loop_argv
from shared.running.folder import is_finished
from shared.running.interrupt import handling, signals_wait
from shared.running.page import own_page, package_page
from shared.running.surroundings import child_environment, settle

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
LESSON_FILE, PICTURE = "speed.json", "speed.png"
LENGTHS = (128, 512)
# One pass and one evaluation: in two, a slow machine would be at it for an hour.
DIALS: dict[str, Any] = {"num_train_epochs": 1, "save_strategy": "no", "logging_strategy": "no"}
# The steps in which a model that is compiled may be compiled anew: for its first batch, and for one of another length.
FIRST_STEPS = 3
# Below this a table says so: its ratios and accuracies are hardly more than chance.
FEW_REVIEWS = 256
PLAIN = "plain"
# What of the dials of `fast` makes it fast.
FAST_DIALS = ("train_sampling_strategy", "bf16")
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
# What docs/speed.md was made of.
MEASURED = Path(__file__).with_name("measured") / LESSON_FILE

COLLATORS = "https://huggingface.co/docs/transformers/data_collators"
COMPILING = "https://docs.pytorch.org/docs/stable/compile/programming_model.recompilation.html"
AUTOCAST = "https://docs.pytorch.org/docs/stable/amp.html"


@dataclass(frozen=True)
class Change:
    """One change against the plain loop.

    Attributes:
        name: short, for a command line or a file.
        label: for a table.
        why: what it does to the time, in sentences.
        dials: the dials that it sets, given those of the plain loop.
        pieces: of the page what it replaces, where no dial does it.
    """

    name: str
    label: str
    why: str
    dials: Callable[[RunConfig], Mapping[str, Any]] = lambda config: {}
    pieces: Pieces = ()


def fast_dials(config: RunConfig) -> dict[str, Any]:
    """What the preset `fast` would set here, of what has to do with speed."""
    fast = RunConfig.build("fast", use_cpu=config.use_cpu, fp16=config.fp16)
    return {name: getattr(fast, name) for name in FAST_DIALS}


CHANGES = (
    Change(
        "padded",
        "padded in full",
        "Every review is computed at the full length, however short it is; the mask throws away what the padding "
        'gave. That is what a tokenizer called with `padding="max_length"` does, as in many tutorials. SameLoop has '
        "no dial for it; the page was edited.",
        pieces=(
            (
                "DataCollatorWithPadding(tokenizer)",
                'DataCollatorWithPadding(tokenizer, padding="max_length", max_length=config.max_length)',
            ),
        ),
    ),
    Change(
        PLAIN,
        "the plain loop",
        f"Each batch is padded to its own longest review ([dynamic padding]({COLLATORS})). The other rows are held "
        "against this one.",
    ),
    Change(
        "grouped",
        "length groups",
        "Reviews of like length share a batch, so next to nothing is padding. Where nearly all reviews are cut to the "
        "same length, there is nothing to win. They are sorted among 50 batches' worth drawn at random, in a small "
        "slice among a quarter of it, so that below some 8 batches there are no groups.",
        lambda config: {"train_sampling_strategy": "group_by_length"},
    ),
    Change(
        "bf16",
        "bf16",
        f"[Autocast]({AUTOCAST}) computes matrix products in 16 bits: faster where the hardware has instructions for "
        "them (avx512_bf16 or amx_bf16 in a processor), slower where each has to be brought to 32 bits and back.",
        lambda config: {"bf16": True, "fp16": False},
    ),
    Change(
        "batch-2",
        "batch size × 2",
        "Half as many steps: optimizer, clip and all that Python does come half as often. What is left is the same "
        "number of products; where they keep the processor busy already, larger ones gain little, and among more "
        "reviews the longest is longer. At the same learning rate fewer steps learn less.",
        lambda config: {"per_device_train_batch_size": 2 * config.per_device_train_batch_size},
    ),
    Change(
        "batch-4",
        "batch size × 4",
        "The same once more: a quarter of the steps, more padding, more memory.",
        lambda config: {"per_device_train_batch_size": 4 * config.per_device_train_batch_size},
    ),
    Change(
        "workers",
        "2 loader workers",
        "Two processes prepare batches ahead. The reviews are tokenized before the training begins, so a batch takes "
        "milliseconds to put together, and there is next to nothing to hide; on a CPU the workers take cores from the "
        "training.",
        lambda config: {"dataloader_num_workers": 2},
    ),
    Change(
        "frozen",
        "frozen body",
        "No gradient is computed for the body: no backward pass through it, and an optimizer with the head alone. "
        "The forward pass stays. It learns less: the features are those of a model that has not seen the task.",
        lambda config: {"freeze_body": True},
    ),
    Change(
        "compiled",
        "torch.compile",
        "Small operations (activation, dropout, norms) are fused; the matrix products, most of the work, are as they "
        f"were. [The first steps compile]({COMPILING}): for the first batch, then for one of another length, and the "
        "evaluation compiles again. A long training gets that back, a short one does not. (Each run here began with "
        "nothing compiled; what torch has kept of an earlier one makes the start shorter.)",
        lambda config: {"torch_compile": True},
    ),
    Change(
        "fast",
        "preset fast",
        "What `--preset fast` chooses on this machine: length groups, and bf16 where the hardware has it.",
        fast_dials,
    ),
)


@dataclass(frozen=True)
class Figures:
    """What the record says of one run.

    Attributes:
        seconds: of all training steps.
        first_seconds: by how much the first steps took longer than as many later ones, for the tokens they had.
        tokens, padded_tokens: of the training, without and with padding.
        tokens_per_second: useful ones, in the steps after the first.
        memory_mb: the most in use, in MB (10^6 bytes).
        accuracy: of the last evaluation; None: there was none.
    """

    seconds: float
    first_seconds: float
    tokens: int
    padded_tokens: int
    tokens_per_second: float
    memory_mb: float
    accuracy: float | None

    @property
    def padding(self) -> float:
        """The share of what was computed that is padding."""
        return 1 - self.tokens / self.padded_tokens


@dataclass(frozen=True)
class Row:
    """A change at one length.

    Attributes:
        name: the change's.
        max_length: tokens.
        dials: the options that it sets, as one types them; empty for the plain loop.
        runs: one a round.
        remark: what one must know beside the numbers, or why there are none; often empty.
    """

    name: str
    max_length: int
    dials: str
    runs: list[Figures]
    remark: str

    def median(self, quantity: str) -> float:
        """Over the rounds, of a quantity of `Figures`."""
        return statistics.median(getattr(run, quantity) for run in self.runs)


class Range(NamedTuple):
    """A median, the lowest and the highest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Lesson:
    """All of it.

    Attributes:
        job: what was trained on what.
        config: the plain loop's dials; each length takes the place of `max_length`.
        rows: by length, in the order of `CHANGES`.
        environment: versions and device, as a record's header has them, with the processor and its cores.
    """

    job: str
    config: dict[str, Any]
    rows: list[Row]
    environment: dict[str, Any]

    @property
    def lengths(self) -> list[int]:
        return list(dict.fromkeys(row.max_length for row in self.rows))

    def at(self, length: int) -> list[Row]:
        return [row for row in self.rows if row.max_length == length]

    def times(self, row: Row) -> Range | None:
        """How many times the plain loop's useful tokens per second, round by round; None: it has not run."""
        plain = next(each for each in self.at(row.max_length) if each.name == PLAIN)
        pairs = zip(row.runs, plain.runs, strict=bool(row.runs))
        found = [run.tokens_per_second / other.tokens_per_second for run, other in pairs]
        return Range(statistics.median(found), min(found), max(found)) if found else None

    def accuracy(self, row: Row) -> Range | None:
        """A row's accuracy, with the interval in which the true one lies with 95 % confidence."""
        found = [run.accuracy for run in row.runs if run.accuracy is not None]
        if not found:
            return None
        mean, count = statistics.fmean(found), self.config["eval_size"]
        return Range(mean, *wilson(mean * count, count))

    @property
    def footnote(self) -> str:
        """The machine and the versions in one line."""
        found = self.environment
        versions = ", ".join(f"{name} {found[name]}" for name in ("torch", "transformers", "python"))
        threads, cores = _counted(found["threads"], "thread"), _counted(found["cores"], "core")
        gpu = "" if found["device"] == "cpu" or self.config["use_cpu"] else f"{found['device']}, "
        return f"{gpu}{found['processor']}, {cores}, {threads}; {versions}"

    def as_dict(self) -> dict[str, Any]:
        """The content of `speed.json`."""
        return {"schema": SCHEMA, **asdict(self)}


def change_of(name: str) -> Change:
    return next(change for change in CHANGES if change.name == name)


def lesson_config(given: Mapping[str, Any]) -> tuple[RunConfig, tuple[int, ...]]:
    """The plain loop's dials, and the lengths at which all is run.

    Args:
        given: the dials that the user has set.

    Raises:
        SameLoopError: as `RunConfig.build`, or a dial that the lesson has no use for.
    """
    config = settle(RunConfig.build(**{**DIALS, **given}))
    if config.loop:
        raise SameLoopError(f"--loop {config.loop}: the lesson changes SameLoop's own page; leave it out")
    return config, ((config.max_length,) if "max_length" in given else LENGTHS)


# Measuring ----------------------------------------------------------------------------------------


def measure(config: RunConfig, lengths: Sequence[int], repeats: int, folder: Path) -> Lesson:
    """Run what has not been run yet, round by round, and keep each run's figures in `folder`.

    Each figure is kept with all that it depends on: dials, code, machine, versions. The same call goes on where it was
    cut off.

    Raises:
        SameLoopError: the plain loop does not run.
        Interrupted: Ctrl-C or SIGTERM.
    """
    environment = _environment()
    jobs = _jobs(config, lengths, folder)
    remarks = {key: why for key, (own, _) in jobs.items() if (why := _obstacle(own))}
    # The plain loop first: if that does not run, nothing does.
    order = sorted((key for key in jobs if key not in remarks), key=lambda key: key[1] != PLAIN)
    order.sort(key=lambda key: lengths.index(key[0]))
    runs: dict[tuple[int, str], list[Figures]] = {key: [] for key in jobs}
    total, parameters = repeats * len(order), None
    for number in range(total):
        turn, (length, name) = number // len(order), order[number % len(order)]
        if (length, name) in remarks:
            continue
        own, code = jobs[length, name]
        of = _depends_on(own, code, environment, turn)
        kept = folder / "kept" / f"{xxhash.xxh3_64_hexdigest(json.dumps(of, sort_keys=True).encode())}.json"
        found = _read_kept(kept, of)
        if found is None:
            announce(f"{number + 1} of {total}: {length} tokens, {change_of(name).label}")
            try:
                found = _run(own, folder)
            except NotRunError as error:
                if name == PLAIN:
                    raise SameLoopError(str(error)) from None
                # What cannot be run here is said in its row.
                remarks[length, name], runs[length, name] = f"did not run: {error}", []
                continue
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {"schema": SCHEMA, "of": of, **found})
        runs[length, name].append(Figures(**found["figures"]))
        parameters = found["parameters"]
    rows = []
    for (length, name), (own, _) in jobs.items():
        remark = remarks.get((length, name)) or _remark(own)
        if (
            name == "fast"
            and (twin := next((each for (at, each), (its, _) in jobs.items() if its == own), name)) != name
        ):
            remark = "; ".join(filter(None, (f"the same run as {change_of(twin).label}", remark)))
        rows.append(Row(name, length, _shown_dials(own, config, length), runs[length, name], remark))
    return Lesson(job_name(config, parameters), config.model_dump(), rows, environment)


def _jobs(
    config: RunConfig, lengths: Sequence[int], folder: Path
) -> dict[tuple[int, str], tuple[RunConfig, dict[str, str]]]:
    """By length and change: the dials, and the code that runs under them."""
    pages = {"": package_page("manual")}
    jobs = {}
    for length in lengths:
        for change in CHANGES:
            dials, file = {**config.model_dump(), "max_length": length, **change.dials(config)}, ""
            if change.pieces:
                file = str(folder / f"{change.name}.py")
                dials["loop"] = file
            if file not in pages:
                folder.mkdir(parents=True, exist_ok=True)
                Path(file).write_text(edited(pages[""], change.pieces).source, encoding="utf-8")
                pages[file] = own_page(Path(file))
            jobs[length, change.name] = RunConfig.build(**dials), dict(pages[file].code)
    return jobs


def _environment() -> dict[str, Any]:
    """What a time depends on besides the dials and the code; the commit says nothing that the code does not."""
    from shared.running.run import environment

    found = {name: value for name, value in environment().items() if name != "git"}
    return {**found, "processor": hardware.processor_name(), "cores": hardware.cores()}


def _depends_on(config: RunConfig, code: Mapping[str, str], environment: Mapping[str, Any], turn: int) -> dict:
    dials = {name: value for name, value in config.dials.items() if name != "loop"}
    return {"dials": dials, "code": dict(code), "environment": dict(environment), "round": turn}


def _read_kept(path: Path, of: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was kept of a run of exactly this; None if nothing was, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        Figures(**content["figures"])
        return content if (content["schema"], content["of"]) == (SCHEMA, of) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _obstacle(config: RunConfig) -> str:
    """Why this machine cannot run these dials; empty if it can."""
    from shared.determinism import check_device

    try:
        check_device(config)
    except SameLoopError as error:
        return f"not here: {error}"
    return ""


def _remark(config: RunConfig) -> str:
    """What one must know of numbers that this machine gives."""
    known = hardware.bf16(config.use_cpu)
    if config.bf16 and not known.in_hardware:
        return f"without hardware for it ({known.why})"
    return ""


def _shown_dials(config: RunConfig, plain: RunConfig, length: int) -> str:
    different = plain.model_copy(update={"max_length": length}).differences(config)
    return " ".join(part for name, (_, value) in different.items() for part in flag(name, value))


class NotRunError(Exception):
    """A run that did not come to its end, and why in a line."""


def _run(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Run the loop by hand in a process of its own; the figures of it, and how many parameters the model has.

    Raises:
        NotRunError: it did not come to its end.
        Interrupted: Ctrl-C or SIGTERM.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("the lesson is cut off; the same command goes on with the run it was at", number)

    run, said, compiled = folder / "run", folder / "run.txt", folder / "compiled"
    shutil.rmtree(compiled, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*config.flags(), "--output-dir", str(run), "--overwrite-output-dir"]
    process = None
    with handling(stop), said.open("wb") as file:
        try:
            with signals_wait():
                # A session of its own: Ctrl-C is heard here.
                process = subprocess.Popen(
                    loop_argv("manual", *arguments),
                    # What torch has kept of an earlier compilation would make this one's time another.
                    env={**child_environment(), "TORCHINDUCTOR_CACHE_DIR": str(compiled.resolve())},
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            with suppress(OSError):
                # Where memory runs out, the system is to end this one, and nothing else of the user's.
                Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000", encoding="ascii")
            returncode = process.wait()
        finally:
            if process is not None:
                end_family(process)
    if returncode or not is_finished(run):
        lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        how = f"exit status {returncode}" if returncode >= 0 else f"signal {-returncode}"
        how += ", as where memory has run out" if returncode == -signal.SIGKILL else ""
        raise NotRunError(shown(last.removeprefix("sameloop: error: "), 200) if returncode > 0 and last else how)
    record = RunRecord.read(run)
    found = {"figures": asdict(figures(record)), "parameters": record.start["parameters"]}
    shutil.rmtree(run)  # the model is as large as a hundred of these figures' files
    shutil.rmtree(compiled, ignore_errors=True)
    said.unlink()
    return found


def figures(record: RunRecord) -> Figures:
    """What the record of a finished run says."""
    lines = [(training_seconds(line), line["tokens"], line["padded_tokens"]) for line in record.steps]
    first, later = lines[:FIRST_STEPS], lines[FIRST_STEPS:] or lines[1:] or lines
    seconds, tokens, padded = (sum(column) for column in zip(*later, strict=True))
    expected = seconds / padded * sum(each for _, _, each in first)
    footer, evaluations = record.footer, record.evaluations
    return Figures(
        seconds=footer["train_seconds"],
        first_seconds=max(0.0, sum(each for each, _, _ in first) - expected),
        tokens=footer["tokens"],
        padded_tokens=footer["padded_tokens"],
        tokens_per_second=tokens / seconds,
        memory_mb=footer["peak_memory_mb"],
        accuracy=evaluations[-1]["accuracy"] if evaluations else None,
    )


def keep(found: Lesson, folder: Path) -> None:
    """Leave `speed.json` in a folder."""
    write_json(folder / LESSON_FILE, found.as_dict())


def read_lesson(path: Path) -> Lesson:
    """What `keep` has left, in a folder or in this file.

    Raises:
        SameLoopError: there is none, or the file is damaged or of another version.
    """
    folder, path = (path, path / LESSON_FILE) if path.is_dir() else (path.parent, path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            raise ValueError
        rows = [Row(**{**row, "runs": [Figures(**run) for run in row["runs"]]}) for row in content["rows"]]
        found = Lesson(**{**content, "rows": rows})
        # What the chart needs is there and has its type.
        [(found.times(row), found.accuracy(row), change_of(row.name)) for row in rows]
        if not rows or not found.footnote:
            raise ValueError
        return found
    except OSError:
        raise SameLoopError(f"{folder}: there is no {LESSON_FILE}; `sameloop speed --lesson` makes one") from None
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, StopIteration):
        raise SameLoopError(f"{path} is damaged or another version's: run `sameloop speed --lesson` again") from None


# Showing ------------------------------------------------------------------------------------------

HEADINGS = ("change", "seconds", "first", "tokens/s", "padding", "MB", "accuracy, %")


def cells(found: Lesson, row: Row) -> list[str]:
    """A row of the table: `HEADINGS`."""
    label, times = change_of(row.name).label, found.times(row)
    if times is None:
        return [label, *["-"] * (len(HEADINGS) - 1)]
    seconds = [run.seconds for run in row.runs]
    spread = len(seconds) > 1
    accuracy = found.accuracy(row)
    each = [100 * share for share in accuracy or ()]
    return [
        label,
        f"{row.median('seconds'):.1f}" + (f" ({min(seconds):.1f} to {max(seconds):.1f})" if spread else ""),
        f"+{row.median('first_seconds'):.1f}",
        f"{times.median:.2f}×" + (f" ({times.low:.2f} to {times.high:.2f})" if spread and row.name != PLAIN else ""),
        f"{row.median('padding'):.0%}",
        f"{row.median('memory_mb'):,.0f}",
        "-" if accuracy is None else f"{each[0]:.1f} ({each[1]:.0f} to {each[2]:.0f})",
    ]


def work(found: Lesson) -> str:
    """What every row trains, in words."""
    config = RunConfig(**found.config)
    passes = f"{show(config.num_train_epochs)} epochs" if config.num_train_epochs != 1 else "one epoch"
    long = f"{config.max_steps} steps" if config.max_steps > 0 else passes
    return (
        f"{found.job}: {config.train_size:,} reviews, {long}, batches of {config.per_device_train_batch_size}; "
        f"accuracy on {config.eval_size:,} others"
    )


def legend(found: Lesson) -> list[str]:
    """What the columns are."""
    rounds = len(next(row for row in found.rows if row.name == PLAIN).runs)
    lines = [
        "seconds: of all training steps, without evaluation and start; first: by how many of these the first "
        f"{FIRST_STEPS} steps took longer than as many later ones, which is where compiling shows; tokens/s: useful "
        "ones, without padding, in the steps after those, as a multiple of the plain loop's; padding: its share of "
        "what was computed; MB: the most memory in use; accuracy: with its 95 % interval (Wilson)",
    ]
    if found.config["train_size"] < FEW_REVIEWS:
        lines.append(
            "so few reviews make a few steps, which say little on a busy machine: this shows what "
            "the table looks like, and is no measurement to go by"
        )
    if rounds == 1:
        lines.append("one round: what else the machine did meanwhile is in the numbers; --repeats 3 gives ranges")
    else:
        lines.append(f"medians of {rounds} rounds, in brackets the lowest and the highest")
    return lines


def remarks(found: Lesson) -> dict[str, list[str]]:
    """By label the remarks on a change's numbers, each once."""
    said: dict[str, list[str]] = {}
    for row in found.rows:
        label = change_of(row.name).label
        if row.remark and row.remark not in said.setdefault(label, []):
            said[label].append(row.remark)
    return {label: lines for label, lines in said.items() if lines}


def fast_here(found: Lesson) -> str:
    """What `fast` stands for where this was measured."""
    row = next(row for row in found.rows if row.name == "fast")
    return row.dials or "nothing else than the plain loop"


def print_lesson(found: Lesson, console: Console) -> None:
    """A table per length, what its columns are, and what is to be said of single rows."""
    from rich import box
    from rich.table import Table

    console.print(work(found))
    for length in found.lengths:
        # Without lines between the columns it fits into 80 characters.
        table = Table(title=f"at {length} tokens", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in HEADINGS:
            is_name = heading == "change"
            table.add_column(heading, justify="left" if is_name else "right", no_wrap=is_name)
        for row in found.at(length):
            table.add_row(*cells(found, row))
        console.print(table)
    for label, lines in remarks(found).items():
        console.print(f"{label}: {'; '.join(lines)}")
    console.print(f"preset fast here: {fast_here(found)}")
    for line in legend(found):
        console.print(line, style="dim")
    console.print(found.footnote, style="dim")


def page(found: Lesson) -> str:
    """`docs/speed.md`."""
    parts = [
        "# A lesson in speed",
        "<!-- made by `make speed-lesson` -->",
        f"What each dial buys at the same work: one change against the plain loop in each row. {work(found)}. Every "
        "run was a process of its own, by the loop by hand; the figures are what its flight recorder wrote. "
        "`sameloop speed --lesson` measures the same on your machine, with any dial (`--train-size`, `--model`, "
        "`--max-length`, `--repeats 3`), and goes on where it was cut off.",
        f"The machine: {found.footnote}.",
        f"![Useful tokens per second and accuracy with each change, at {_listed(found.lengths)} tokens]({PICTURE})",
    ]
    for length in found.lengths:
        lines = [f"| {' | '.join(HEADINGS)} |", "|---|" + "---:|" * (len(HEADINGS) - 1)]
        lines += [f"| {' | '.join(cells(found, row))} |" for row in found.at(length)]
        parts += [f"## At {length} tokens", "\n".join(lines)]
    parts.append(f"{'. '.join(_sentence(line) for line in legend(found))}.")
    parts.append("## Why")
    lines, noted = [], remarks(found)
    for change in CHANGES:
        dials = next(row.dials for row in found.rows if row.name == change.name)
        how = f" (`{dials}`)" if dials else ""
        said = "".join(f" Here: {line}." for line in noted.get(change.label, []))
        lines.append(f"- **{_sentence(change.label)}**{how}. {change.why}{said}")
    parts.append("\n".join(lines))
    parts.append(
        f"`--preset fast` is the tutorial's job at 512 tokens with what makes it faster. Here that is "
        f"`{fast_here(found)}`; `sameloop doctor` says what it is on your machine, and why. The accuracies are those "
        "of one seed, after one epoch."
    )
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    return text if text.startswith(("torch", "bf16")) else text[0].upper() + text[1:]


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
