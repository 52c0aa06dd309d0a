"""Read the points of each phase from a teacher's file."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from benchmarks.check.rubric import ITEMS
from shared.errors import SameLoopError, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_points(file: Path) -> dict[str, float]:
    """Read a TOML file with a line such as `clip = 2` for each item whose points are not 1.

    `schedule_step` and `"schedule step"` are the same.

    Raises:
        SameLoopError: it cannot be read, is not TOML, names an unknown item, or has a value that is not 0 or more.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SameLoopError(f"--points {file}: it cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SameLoopError(f"--points {file}: it is not TOML ({error}); write lines such as: clip = 2") from None
    points: dict[str, float] = {}
    for name, worth in content.items():
        item = name.replace("_", " ").replace("-", " ")
        if item not in ITEMS:
            raise SameLoopError(f"--points {file}: there is no phase {shown(name)}; there are {', '.join(ITEMS)}")
        if isinstance(worth, bool) or not isinstance(worth, (int, float)) or not 0 <= worth < math.inf:
            raise SameLoopError(f"--points {file}: {name} = {shown(worth)}: give a number that is at least 0")
        points[item] = worth
    return points
