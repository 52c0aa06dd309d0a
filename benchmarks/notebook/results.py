"""The results of `import sameloop`, which a notebook displays and a script reads.

Each is plain data (`as_dict`, pandas frames), a figure, and what a notebook displays. pandas and matplotlib are
imported where they are needed, and never from the current folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from benchmarks.charts.data import NAMES
from benchmarks.notebook.shown import Content, first_line, frame, html, image, side_by_side, table
from shared.errors import SameLoopError
from shared.recording.record import RunRecord, training_seconds
from shared.running.folder import COMPARISON_FILE, LOOPS
from shared.running.imports import own_imports

if TYPE_CHECKING:
    import pandas

    from benchmarks.charts.canvas import Chart
    from benchmarks.gather import GatheredRuns

# The entries of a step's line that are one number.
OF_A_STEP = (
    *("loss", "unclipped_norm", "grad_norm", "learning_rate"),
    *("samples", "tokens", "padded_tokens", "memory_mb"),
)


class Run:
    """One loop's run.

    Other attributes of its record, such as `config`, `header` or `log_history`, are here under the same name.

    Attributes:
        folder: where it is kept.
        record: its `record.jsonl`, as `shared.recording.record.RunRecord`.
        output: what its process printed.
    """

    def __init__(self, folder: str | Path, output: str = "") -> None:
        """Read the run in a folder.

        Raises:
            SameLoopError: there is no run, or its record is damaged.
        """
        self.folder, self.output = Path(folder), output
        self.record = RunRecord.read(self.folder)

    def __getattr__(self, name: str) -> Any:
        # `record` itself is missing while it is being read, or while a copy is made.
        if name.startswith("_") or name == "record":
            raise AttributeError(name)
        return getattr(self.record, name)

    @property
    def steps(self) -> pandas.DataFrame:
        """A row per optimizer step: its epoch, the loss, the gradients' norm before and after the clip, and so on."""
        rows = [
            {
                "step": line["step"],
                "epoch": self.record.epoch_of(line["step"]),
                **{name: line.get(name) for name in OF_A_STEP},
                "seconds": training_seconds(line),
            }
            for line in self.record.steps
        ]
        return frame(rows, ["step", "epoch", *OF_A_STEP, "seconds"])

    @property
    def evaluations(self) -> pandas.DataFrame:
        """A row per evaluation, as the loop reported it; if it reports nothing, as the recorder measured it."""
        rows = self.record.reported_evaluations or self.record.recorded_evaluations
        columns = ["step", "epoch", "eval_loss", "eval_accuracy"]
        return frame([{name: row.get(name) for name in columns} for row in rows], columns)

    @own_imports()
    def figure(self, kind: str = "losses", style: str = "slide") -> Chart:
        """A chart of the run; `sameloop.plot` describes the kinds, the styles and the errors."""
        from benchmarks.charts.data import Run as Line
        from benchmarks.gather import GatheredRuns, Source

        source = Source([self.record], self.folder)
        return _chart(GatheredRuns([source], [Line(self._name, self.record)], None), kind, style, self.folder)

    def as_dict(self) -> dict[str, Any]:
        """A copy of the record, in types that JSON has."""
        names = ("loop", "header", "start", "steps", "evaluations", "footer", "log_history")
        return json.loads(json.dumps({name: getattr(self.record, name) for name in names}))

    @property
    def _name(self) -> str:
        return NAMES.get(self.record.loop, self.record.loop)

    def __repr__(self) -> str:
        last = self.record.steps[-1]["loss"] if self.record.steps else None
        loss = "" if last is None else f", the last loss {last:.4f}"
        return f"<{self._name}: {len(self.record.steps)} steps{loss}; {self.folder}>"

    @own_imports()
    def _repr_html_(self) -> str:
        chart = self.figure()
        rows = [
            (f"{row.step}", f"{row.epoch:.4g}", f"{row.eval_loss:.6f}", f"{row.eval_accuracy:.4f}")
            for row in self.evaluations.reset_index().itertuples()
        ]
        return html(
            f"<p><b>{escape(self._name)}</b>: {len(self.record.steps)} steps</p>",
            image(chart.content("svg"), "svg", chart.alt),
            table(("step", "epoch", "validation loss", "accuracy"), rows, numbers=True),
        )


class Comparison(Content):
    """Both loops and the verdict; its keys are those of `comparison.json`, as in `comparison["verdict"]`.

    Attributes:
        folder: where it is kept.
        manual, trainer: the two runs.
        output: what their processes printed.
    """

    def __init__(self, folder: str | Path, output: str = "") -> None:
        """Read the comparison in a folder.

        Raises:
            SameLoopError: there is no comparison, or its files are not those that were compared.
        """
        from benchmarks.runs import read_comparison

        self.folder, self.output = Path(folder), output
        super().__init__(read_comparison(self.folder))
        self.manual, self.trainer = (Run(self.folder / loop) for loop in LOOPS)
        # Read now: another comparison may replace this one in the folder.
        self._svg, self._png = ((self.folder / f"comparison.{kind}").read_bytes() for kind in ("svg", "png"))
        self._alt = (self.folder / "comparison.alt.txt").read_text(encoding="utf-8")

    @property
    def verdict(self) -> str:
        """`identical` or `diverged`."""
        return self["verdict"]

    @property
    def steps(self) -> pandas.DataFrame:
        """A row per optimizer step; a column per quantity and loop: `steps["loss"]["manual"]`."""
        return side_by_side({loop: getattr(self, loop).steps.drop(columns="epoch") for loop in LOOPS})

    @property
    def evaluations(self) -> pandas.DataFrame:
        """A row per evaluation; a column per quantity and loop: `evaluations["eval_loss"]["manual"]`."""
        return side_by_side({loop: getattr(self, loop).evaluations.drop(columns="epoch") for loop in LOOPS})

    @own_imports()
    def figure(self, kind: str = "overview", style: str = "slide") -> Chart:
        """A chart of both; `sameloop.plot` describes the kinds, the styles and the errors."""
        from benchmarks.charts.charts import runs_and_pair
        from benchmarks.gather import GatheredRuns, Source

        runs, pair = runs_and_pair(self.manual.record, self.trainer.record, self._content)
        sources = [Source([run.record], run.folder) for run in (self.trainer, self.manual)]
        return _chart(GatheredRuns(sources, runs, pair), kind, style, self.folder)

    @own_imports()
    def __str__(self) -> str:
        """The verdict and its remarks, as the command line prints them."""
        from benchmarks.verdict.table import verdict_text

        return verdict_text(self._content).plain

    def __repr__(self) -> str:
        return f"<{str(self).splitlines()[0]}; {self.folder}>"

    @own_imports()
    def _repr_html_(self) -> str:
        from benchmarks.verdict.table import epoch_rows, notes

        first, *more = str(self).splitlines()
        good = self.verdict == "identical"
        cause = "" if good else f"<p>{escape(more[0])}</p>"
        remarks = "".join(f"<li>{escape(note)}</li>" for note in notes(self._content))
        heads = [
            f"{name}, {NAMES[loop]}" for name in ("training loss", "validation loss", "accuracy") for loop in LOOPS
        ]
        return html(
            first_line(self.verdict, good, first.removeprefix(self.verdict)),
            cause,
            f'<ul class="soft">{remarks}</ul>' if remarks else "",
            image(self._svg, "svg", self._alt),
            table(["epoch", *heads], epoch_rows(self, missing="–"), numbers=True),
        )

    def _repr_png_(self) -> bytes:
        return self._png


class Script(str):
    """The text of a loop; a notebook shows it in colours."""

    __slots__ = ()

    @own_imports()
    def write(self, file: str | Path) -> Path:
        """Write it to a new file.

        Raises:
            SameLoopError: the file already exists, or cannot be written.
        """
        from benchmarks.pages.eject import write_script

        write_script(str(self), Path(file))
        return Path(file)

    def __repr__(self) -> str:
        return f"<a script of {len(self.splitlines())} lines: print() shows it, .write(file) keeps it>"

    @own_imports()
    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        # Colours that can be read on white, with a background of their own: a dark notebook's would be unreadable.
        formatter = HtmlFormatter(
            style="friendly", noclasses=True, nobackground=True, prestyles="white-space: pre; background: none"
        )
        code = highlight(str(self), PythonLexer(), formatter)
        ground = "background: #FAFAFA; color: #111; padding: .1em .8em; overflow-x: auto"
        return html(f'<div style="{ground}">{code}</div>')


class CheckResult(Content):
    """The result of a check of a loop; the keys are those of `sameloop check --format json`."""

    @property
    def verdict(self) -> str:
        """`identical`, `equivalent`, `different` or `failed`."""
        return self["verdict"]

    @property
    def failures(self) -> list[str]:
        """The phases that are wrong."""
        from benchmarks.check.rubric import FAIL

        return [row["item"] for row in self["rubric"] if row["status"] == FAIL]

    @property
    def phases(self) -> pandas.DataFrame:
        """A row per phase: its status, and for a wrong one the step, the cause and both values."""
        columns = ["item", "status", "step", "cause", "student", "right"]
        return frame([{name: row[name] for name in columns} for row in self["rubric"]], columns)

    @property
    def _sentence(self) -> str:
        why = f": {self['why']}" if self["why"] else ""
        return f"{why}; {self['score']:g} of {self['max_score']:g} points"

    def __repr__(self) -> str:
        return f"<{self.verdict}{self._sentence}>"

    @own_imports()
    def _repr_html_(self) -> str:
        from benchmarks.check.formats import MARKS, evidence
        from benchmarks.check.rubric import FAIL, GOOD, HINTS, PASS

        def cells(row: Mapping[str, Any]) -> list[Any]:
            status = row["status"]
            kind = "good" if status == PASS else "bad" if status == FAIL else "soft"
            mark = Markup('<span class="{}">{}</span>').format(kind, MARKS[status][0])
            text = escape(evidence({**row, "student": row["student"] or "", "right": row["right"] or ""}))
            if status == FAIL:
                text += Markup("<details><summary>a question</summary>{}</details>").format(HINTS[row["item"]])
            return [mark, row["item"], text]

        output = self["output"].strip()
        return html(
            first_line(self.verdict, self.verdict in GOOD, self._sentence),
            table(("", "phase", "what was seen"), map(cells, self["rubric"])),
            f"<details><summary>it printed</summary><pre>{escape(output)}</pre></details>" if output else "",
        )


class XRayResult(Content):
    """A step of both loops, event by event; the keys are those of `sameloop xray --json`."""

    @property
    def equal(self) -> bool:
        """Whether both loops do the same, in the same order, with equal values."""
        return self["equal"]

    @property
    def events(self) -> pandas.DataFrame:
        """A row per event of the whole run, with its line in the manual loop and its line inside `Trainer`."""
        columns = ["part", "epoch", "step", "phase", "what", "equal", "by_hand", "in_trainer"]
        rows = [
            {
                **{name: event[name] for name in columns[:6]},
                "by_hand": self._line(event["manual"]),
                "in_trainer": self._line(event["trainer"]),
            }
            for event in self["events"]
        ]
        return frame(rows, columns, index=None)

    @staticmethod
    def _line(frames: Sequence[Mapping[str, Any]] | None) -> str:
        return f"{frames[-1]['file']}:{frames[-1]['line']} {frames[-1]['code']}" if frames else ""

    @property
    def _sentence(self) -> str:
        count = len(self["events"])
        return f": {count} events in both" if self.equal else f": of {count} events, some are missing or differ"

    def __repr__(self) -> str:
        return f"<{'equal' if self.equal else 'different'}{self._sentence}>"

    def _repr_html_(self) -> str:
        step = [event for event in self["events"] if event["part"] == "step" and event["step"] == self["step"]]
        rows = [
            [
                event["phase"],
                event["what"],
                Markup("<code>{}</code>").format(self._line(event["manual"])),
                Markup("<code>{}</code>").format(self._line(event["trainer"])),
                "" if event["equal"] else Markup('<span class="bad">differs</span>'),
            ]
            for event in step
        ]
        return html(
            first_line("equal" if self.equal else "different", self.equal, f"{self._sentence}; step {self['step']}:"),
            table(("phase", "what happens", "manual", "inside Trainer", ""), rows, is_wide=True),
        )


class LadderResult(Content):
    """The ladder; the keys are those of `ladder.json`.

    Attributes:
        folder: where it is kept.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read the ladder in a folder.

        Raises:
            SameLoopError: there is no ladder, or it is damaged.
        """
        from benchmarks.mistakes.ladder import LADDER

        self.folder = Path(folder)
        self._ladder = LADDER.read(self.folder)
        self._rows = self._ladder.rows
        super().__init__(LADDER.as_dict(self._ladder))

    @property
    def rows(self) -> pandas.DataFrame:
        """A row per loop: what was fixed, how many steps are equal, and what differs first."""
        names = ("name", "equal_steps", "where", "cause", "why")
        return frame([{name: getattr(row, name) for name in names} for row in self._rows], list(names))

    @own_imports()
    def figure(self, style: str = "slide") -> Chart:
        """The chart.

        Raises:
            SameLoopError: there is no such style.
        """
        from benchmarks.charts.styles import STYLE_NAMES
        from benchmarks.mistakes.ladder_chart import ladder_chart

        _check_choice(style, "style", STYLE_NAMES)
        return ladder_chart(self._ladder, style)

    def __repr__(self) -> str:
        last = self._rows[-1]
        return f"<{len(self._rows) - 1} fixes, with all of them {last.where}; {self.folder}>"

    @own_imports()
    def _repr_html_(self) -> str:
        picture = self.figure()
        rows = [
            (
                f"+ {row.name}",
                row.why,
                Markup("<br>").join(Markup("<code>{}</code>").format(line) for line in row.diff),
            )
            for row in self._rows[1:]
        ]
        return html(
            image(picture.content("svg"), "svg", picture.alt),
            table(("fix", "why", "what changes"), rows, is_wide=True),
        )

    def _repr_png_(self) -> bytes:
        return self.figure().content("png")


def _check_choice(value: str, kind: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise SameLoopError(f"there is no {kind} {value!r}: choose one of {', '.join(choices)}")


def _chart(gathered: GatheredRuns | None, kind: str, style: str, *folders: Path) -> Chart:
    """A chart of runs that have been read, or of the contents of their folders."""
    from benchmarks.charts.styles import STYLE_NAMES
    from benchmarks.plot import FOLDER_KINDS, KINDS, chart_of

    _check_choice(kind, "chart", KINDS)
    _check_choice(style, "style", STYLE_NAMES)
    if gathered is None or kind in FOLDER_KINDS:
        return chart_of(folders, kind, style)
    return gathered.chart(kind, style)


@own_imports()
def draw_runs(runs: Any, kind: str, style: str) -> Chart:
    """A chart of one or more runs, comparisons or their folders; `sameloop.plot` describes the arguments."""
    all_runs = list(runs) if isinstance(runs, (list, tuple)) else [runs]
    folders = [Path(getattr(run, "folder", run)) for run in all_runs]
    if len(all_runs) == 1:
        (run,) = all_runs
        if not isinstance(run, (Run, Comparison)) and (folders[0] / COMPARISON_FILE).is_file():
            run = Comparison(run)
        if isinstance(run, (Run, Comparison)):
            return run.figure(kind, style)
    # To find out which of many runs are equal, torch is needed.
    return _chart(None, kind, style, *folders)
