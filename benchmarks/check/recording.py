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


class RecordingError(Exception):
    """The file is not a recording that `watch` has written."""


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
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while len(lengths := file.read(LENGTHS.size)) == LENGTHS.size:
            head, body = LENGTHS.unpack(lengths)
            place = file.tell() + head
            if place + body > size:
                return
            try:
                fields = json.loads(file.read(head))
            except (ValueError, RecursionError):
                raise RecordingError("an event is not JSON") from None
            if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
                raise RecordingError("an event has no kind")
            yield Event(fields, path, (place, body))
            file.seek(place + body)
