"""The parts of the README that are made, not written: the table of dials. Run by `make docs`."""

from __future__ import annotations

from pathlib import Path

from shared.config import meaning, option, sections, values_by_preset
from shared.progress import announce

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- dials: made by `make docs` -->", "<!-- /dials -->"


def dials_table() -> str:
    """Every dial in a Markdown table, from its declaration."""
    rows = ["| dial | meaning | default; presets that differ |", "|---|---|---|"]
    for section, names in sections().items():
        rows.append(f"| **{section}** | | |")
        rows += [f"| `{option(name)}` | {meaning(name)} | {values_by_preset(name)} |" for name in names]
    return "\n".join(rows)


def with_dials(text: str) -> str:
    """The README's text with the table between its two markers made anew."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{dials_table()}\n{END}{after}"


def main() -> None:
    """Write the table into the README."""
    README.write_text(with_dials(README.read_text(encoding="utf-8")), encoding="utf-8")
    announce(f"table of dials written to {README.name}")


if __name__ == "__main__":
    main()
