"""What SameLoop has kept in a file of JSON: it is read, or one line says what is wrong and what makes it again."""

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
    """A kind of file.

    Attributes:
        name: of the file, in whatever folder.
        holds: the type of its content, as pydantic checks it.
        command: which makes it.
        schema: of the format that this version writes and reads.
        check: what is done with the content when it is read, and raises if something does not go together.
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
        """Keep this in a folder, whole or not at all; in a dictionary there may be more than will be read."""
        write_json(folder / self.name, self.as_dict(content))

    def as_dict(self, content: T | dict[str, Any]) -> dict[str, Any]:
        """What `write` writes."""
        fields = content if isinstance(content, dict) else asdict(content)  # type: ignore[call-overload]
        return {"schema": self.schema, **fields}

    def read(self, place: Path) -> T:
        """What is kept in a folder, or in the file itself.

        Raises:
            SameLoopError: nothing is, or it is damaged or of another version.
        """
        path = place if place.is_file() else place / self.name
        try:
            content = read_json(path)
            written = content.get("schema", "none") if isinstance(content, dict) else self.schema
            if written != self.schema:
                raise ValueError(f"format {shown(written)}, this version reads {self.schema}")
            if wrong := problem(self._adapter, content):
                raise ValueError(wrong)
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
