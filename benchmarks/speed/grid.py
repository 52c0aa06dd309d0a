"""The order in which `speed` times its cells: every cell once in each round.

What slows the machine for longer than a round slows all cells alike. In lock-step a cell is a loop, and a round
is a step of each; in the lesson a cell is a change at a length, and a round is a whole run of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from shared.errors import Interrupted
from shared.starting.interrupt import handling

Cell = TypeVar("Cell")


def turns(cells: Sequence[Cell], rounds: int, *, swapped: bool = False) -> Iterator[tuple[int, Cell]]:
    """Every cell of every round, each with the number of its round, from 0.

    Args:
        cells: in the order of a round.
        rounds: how often each cell comes.
        swapped: every second round is in reverse order, so that neither of two cells always comes second.
    """
    for number in range(rounds):
        for cell in cells[::-1] if swapped and number % 2 else cells:
            yield number, cell


@contextmanager
def cut_off(text: str) -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM end the command; `text` says what happens to the measurements.

    Raises:
        Interrupted: one of these signals arrived.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(text, number)

    with handling(stop):
        yield
