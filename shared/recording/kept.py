"""Results that SameLoop keeps as JSON files: one is read, or one line states what is wrong and how to remake it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from shared.errors import SameLoopError, shown
from shared.files import read_json, write_json
from shared.recording.schema import problem

T = TypeVar("T")


@dataclass(frozen=True)
class Kept(Generic[T]):
    """A kind of kept file.

    Attributes:
        name: of the file, in any folder.
        holds: the type of its content, as pydantic checks it.
        command: the command that makes it.
        schema: of the format that this version writes and reads.
        check: a function of the content that is called when it is read, and raises if its parts contradict each other.
    """

    name: str
    holds: type[T]
    command: str
    schema: int
    check: Callable[[T], object] = bool

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.holds)

    def write(self, folder: Path, content: T | dict[str, Any]) -> None:
        """Write the content to a folder, whole or not at all; a dictionary may hold more than will be read."""
        write_json(folder / self.name, self.as_dict(content))

    def as_dict(self, content: T | dict[str, Any]) -> dict[str, Any]:
        """What `write` writes."""
        fields = content if isinstance(content, dict) else asdict(content)  # type: ignore[call-overload]
        return {"schema": self.schema, **fields}

    def read(self, place: Path) -> T:
        """The content of the file in a folder, or of the file itself.

        Raises:
            SameLoopError: there is no file, or it is damaged or of another version.
        """
        path = place if place.is_file() else place / self.name
        try:
            content = read_json(path)
            written = content.get("schema", "none") if isinstance(content, dict) else self.schema
            if written != self.schema:
                raise ValueError(f"format {shown(written)}, this version reads {self.schema}")
            if reason := problem(self._adapter, content):
                raise ValueError(reason)
            checked = self._adapter.validate_python(content)
            self.check(checked)
        except (FileNotFoundError, NotADirectoryError):
            raise SameLoopError(f"{path.parent} holds no {self.name}: run `{self.command}` first") from None
        except OSError as error:
            raise SameLoopError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            why = shown(error, 120)
            raise SameLoopError(
                f"{path} is damaged, or of another version ({why}): run `{self.command}` again"
            ) from None
        return checked
