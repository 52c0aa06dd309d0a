"""What a notebook displays: HTML with its own style, tables, pictures and frames; and the base class of results."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from shared.running.imports import own_imports

if TYPE_CHECKING:
    import pandas

# The notebook's own colours; only right and wrong have colours of ours, always together with a word.
LOOK = """<style>
.sameloop { line-height: 1.45; max-width: 60rem }
.sameloop .scroll { overflow-x: auto }
.sameloop img { display: block; width: 100%; min-width: 38rem; height: auto; margin: .5em 0 }
.sameloop table { border-collapse: collapse; margin: .5em 0; font-size: .92em }
.sameloop th, .sameloop td { text-align: left; padding: .2em .7em .2em 0; vertical-align: top }
.sameloop th { font-weight: 600; border-bottom: 1px solid currentColor }
.sameloop .wide { min-width: 36rem } .sameloop .wide td:nth-child(2) { min-width: 10rem }
.sameloop .wide code { overflow-wrap: anywhere } .sameloop td:first-child { white-space: nowrap }
.sameloop .number { text-align: right; font-variant-numeric: tabular-nums }
.sameloop ul { margin: .3em 0; padding-left: 1.2em }
.sameloop pre { margin: .1em 0; white-space: pre-wrap; font-size: .92em; background: none }
.sameloop .good { color: #0072B2; font-weight: 700 } .sameloop .bad { color: #C04F00; font-weight: 700 }
.sameloop .soft { opacity: .75 }
</style>"""


class Content(Mapping):
    """A read-only dictionary."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)

    def __getitem__(self, name: str) -> Any:
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def as_dict(self) -> dict[str, Any]:
        """A copy of the whole content, in types that JSON has."""
        return json.loads(json.dumps(self._content))


def html(*parts: str) -> str:
    """What a notebook displays, from parts that are HTML already."""
    return f'<div class="sameloop">{LOOK}{"".join(parts)}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: bool = False, is_wide: bool = False) -> str:
    """A table; a cell that is not Markup is escaped.

    Args:
        numbers: all columns but the first are aligned to the right.
        is_wide: where there is less room it scrolls sideways, instead of becoming narrow.
    """

    def cells(tag: str, row: Sequence[Any]) -> str:
        number = ' class="number"' if numbers else ""
        return "".join(
            f"<{tag}{number if place else ''}>{escape('' if cell is None else cell)}</{tag}>"
            for place, cell in enumerate(row)
        )

    head = f"<tr>{cells('th', heads)}</tr>"
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    kind = ' class="wide"' if is_wide else ""
    return f'<div class="scroll"><table{kind}><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def image(content: bytes, file_format: str, alt: str) -> str:
    kind = "svg+xml" if file_format == "svg" else file_format
    data = base64.b64encode(content).decode()
    return (
        f'<div class="scroll"><img src="data:image/{kind};base64,{data}" alt="{escape(" ".join(alt.split()))}"></div>'
    )


def first_line(verdict: str, good: bool, rest: str) -> str:
    return f'<p><span class="{"good" if good else "bad"}">{escape(verdict)}</span>{escape(rest)}</p>'


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], index: str | None = "") -> pandas.DataFrame:
    """A frame; `index`: the column that numbers the rows, the first if it is not named."""
    with own_imports():
        import pandas

        frame = pandas.DataFrame(list(rows), columns=list(columns))
        return frame if index is None else frame.set_index(index or columns[0])


def side_by_side(frames: Mapping[str, pandas.DataFrame]) -> pandas.DataFrame:
    """Both loops' columns, those of one quantity next to each other."""
    with own_imports():
        import pandas

        both = pandas.concat(frames, axis=1, names=["loop", "quantity"]).swaplevel(axis=1)
        order = [(name, loop) for name in next(iter(frames.values())).columns for loop in frames]
        return both[order]
