"""The recording of a watched run, which the judge reads: a file of frames, each one an event with its tensors.

A frame is two lengths (8 bytes each, little endian), the event as JSON, and its tensors as safetensors. These are data
and never code, whoever has written them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import torch

LENGTHS = struct.Struct("<QQ")
# A right loop has 107 events; the longest has 2,400 characters and 8 MB of tensors.
MOST_EVENTS, LONGEST_HEAD, ALL_HEADS, LARGEST_BODY = 100_000, 200_000, 50_000_000, 100_000_000
# The most digits of an integer; 64 bits have 19.
MOST_DIGITS = 20


class RecordingError(Exception):
    """The file is not a recording that `watch` has written."""


class TooLargeError(Exception):
    """The recording is larger than that of any training; the loop's process may have written it itself."""

    def __init__(self, what: str) -> None:
        super().__init__(f"its recording is larger than that of any training: {what}")


class RecordingWriter:
    """Appends frames to an open file.

    Args:
        file: opened for writing, in bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        from safetensors.torch import save

        self._file, self._save, self._dumps = file, save, json.dumps

    def write(self, kind: str, fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None = None) -> None:
        """Write one event; it is in the file when this returns."""
        body = self._save({name: tensor.detach().contiguous() for name, tensor in (tensors or {}).items()})
        head = self._dumps({"kind": kind, **fields}).encode()
        self._file.write(LENGTHS.pack(len(head), len(body)) + head + body)
        self._file.flush()


class Event:
    """One event of a recording.

    Attributes:
        kind: `forward`, `backward`, `step` and so on, see `watch`.
        fields: its values from the JSON.
    """

    def __init__(self, fields: dict[str, Any], path: Path, place: tuple[int, int]) -> None:
        self.kind: str = fields["kind"]
        self.fields = fields
        self._path, self._place = path, place

    def __getitem__(self, name: str) -> Any:
        try:
            return self.fields[name]
        except KeyError:
            raise RecordingError(f"an event of kind {self.kind} has no {name}") from None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Read its tensors from the file.

        Raises:
            RecordingError: they cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        with self._path.open("rb") as file:
            file.seek(self._place[0])
            try:
                return load(file.read(self._place[1]))
            except (SafetensorError, ValueError, KeyError, TypeError) as error:
                raise RecordingError(str(error)) from None


def read_recording(path: Path) -> Iterator[Event]:
    """The events of a recording, in order, without a last one that was cut off.

    Raises:
        RecordingError: it holds something that `watch` does not write.
        TooLargeError: it exceeds a limit.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        number = heads = 0
        while len(lengths := file.read(LENGTHS.size)) == LENGTHS.size:
            head, body = LENGTHS.unpack(lengths)
            number, heads = number + 1, heads + head
            if head > LONGEST_HEAD:
                raise TooLargeError(f"an event of {head} characters")
            if heads > ALL_HEADS:
                raise TooLargeError(f"events of {heads} characters and more")
            if body > LARGEST_BODY:
                raise TooLargeError(f"an event of {body / 1e6:.0f} MB")
            if number > MOST_EVENTS:
                raise TooLargeError(f"{number} events and more")
            place = file.tell() + head
            if place + body > size:
                return
            try:
                fields = json.loads(file.read(head), parse_int=_whole_number)
            except (ValueError, RecursionError):
                raise RecordingError("an event is not JSON") from None
            if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
                raise RecordingError("an event has no kind")
            yield Event(fields, path, (place, body))
            file.seek(place + body)


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise TooLargeError(f"a number of {len(text)} digits")
    return int(text)
