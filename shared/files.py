"""Reading and writing whole files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xxhash

# The errors of a refused write, as opposed to a mistake in the program.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def digest(parts: Iterable[Any]) -> str:
    """xxh3_128 over bytes or buffers, in hex."""
    hashed = xxhash.xxh3_128()
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()


def sha256(path: Path) -> str:
    """The file's sha256, in hex."""
    return _hex_digest(path, hashlib.sha256())


def digest_of_file(path: Path) -> str:
    """The file's xxh3_128, in hex: quicker than a sha256, and no protection from an attacker."""
    return _hex_digest(path, xxhash.xxh3_128())


def _hex_digest(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """The content of a JSON file, whoever wrote it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, not text, or nested too deep for Python.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, as `write_whole`."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all, also when the power fails."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    flush_to_disk(unfinished)
    unfinished.replace(path)


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk and not only on its way there.

    Some shared and network folders do not support it; then the file is as safe as the folder is.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """`fsync`, where the file system has it.

    Raises:
        OSError: the disk is full, for example.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def refused_write(error: BaseException) -> str | None:
    """Why the system refused to write, where that is what `error` reports; None for any other error.

    torch and safetensors report it in exceptions of their own, with the reason in the text.
    """
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return os.strerror(error.errno)
    text = str(error)
    if "(os error 28)" in text:  # tokenizers raises a bare Exception
        return os.strerror(errno.ENOSPC)
    if type(error).__name__ == "SafetensorError" and "I/O error" in text:
        return text.split("I/O error:")[-1].split("(os error")[0].strip(" .()")
    if type(error).__name__ == "SafetensorError" and (code := re.search(r"IoError\(Os \{ code: (\d+)", text)):
        return os.strerror(int(code[1]))  # as safetensors 0.4 reports it
    if isinstance(error, RuntimeError) and ("inline_container" in text or "iostream error" in text):
        return "the disk is full or refuses the file's size"
    return None
