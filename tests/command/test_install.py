"""What an installation brings: a wheel with all of the project's files, and imports where they are used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ran
from packaging.version import Version

from benchmarks.check.autograder import FOLDERS, NOT_INSTALLED, PROJECT_FILES
from shared.releases import INSTALLED
from shared.sources.embedded import REVIEWS, locate
from shared.starting.children import ROOT

# What draws, prints, folds and grades; datasets and torch themselves import pandas, pyarrow and jinja2.
SPARED_BY_A_LOOP = ("IPython", "libcst", "matplotlib", "nbformat", "pygments", "ruff")
SPARED_BY_HELP = (
    *SPARED_BY_A_LOOP,
    "datasets",
    "jinja2",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "torch",
    "transformers",
)
NAMES_IMPORTED = """
import sys
from benchmarks.cli import main
status = main(sys.argv[2:]) if sys.argv[2:] else 0
print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules))
sys.exit(status)
"""


def project_files(folder: Path) -> list[str]:
    """Those of a checkout that belong into the wheel."""
    paths = [path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in paths if "__pycache__" not in path.parts]
    return sorted(["sameloop.py", *(name for name in names if not name.startswith(f"{NOT_INSTALLED}/"))])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves a `build` folder beside what it builds."""
    if Version(metadata.version("packaging")) < Version("24.2"):
        pytest.skip(
            "setuptools 77 builds with packaging 24.2 or newer; pip gets it for itself, a test without net not"
        )
    copy, wheels = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, copy / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", wheels]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, copy], check=True)
    return next(wheels.glob("*.whl"))


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(name for name in names if ".dist-info/" not in name) == project_files(ROOT)
    assert not any(name.startswith(NOT_INSTALLED) for name in names)
    assert "shared/sources/embedded.txt" in names and "benchmarks/check/gradescope/setup.sh" in names


def imported(names: tuple[str, ...], *arguments: str) -> str:
    """Which of the modules `sameloop` with these arguments has imported; without any, its command line alone.

    A warning, ours or of a library that we call, ends it.
    """
    finished = ran(sys.executable, "-W", "error", "-c", NAMES_IMPORTED, ",".join(names), *arguments, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",), ("compare", "--help")])
def test_help_imports_next_to_nothing(arguments: tuple[str, ...]) -> None:
    assert imported(SPARED_BY_HELP, *arguments) == "imported:"


# Both loops with every connection refused and, where `Trainer` is not in it, every warning an error.
DEFAULT_JOB = """
import socket, sys, warnings
from pathlib import Path

def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
import manual_loop.train
# transformers imports it when it loads a model.
assert "accelerate" not in sys.modules
from benchmarks.cli import main
status = main(["manual", "--preset", "tiny", "--output-dir", "manual"])
print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules), file=sys.stderr)
warnings.simplefilter("ignore")
status += main(["trainer", "--preset", "tiny", "--output-dir", "trainer"])
from benchmarks.verdict.verdict import compare_runs
assert compare_runs(Path("manual"), Path("trainer"))["verdict"] == "identical"
sys.exit(status)
"""


def test_the_default_job_opens_no_socket_and_imports_no_more_than_it_uses(tmp_path: Path) -> None:
    """By hand no `Trainer` and no accelerate, and nothing that draws, folds or grades. About 5 seconds."""
    # transformers 5.6 imports it by itself.
    theirs = {"pygments"} if INSTALLED < (5, 24) else set()
    of_trainer = {"transformers.trainer", "transformers.training_args", "trainer_loop.train"}
    spared = ",".join(sorted({*SPARED_BY_A_LOOP, *of_trainer} - theirs))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE")
    finished = ran(sys.executable, "-W", "error", "-c", DEFAULT_JOB, spared, cwd=tmp_path, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert "\nimported:\n" in finished.stderr
    assert "socket" not in finished.stderr


@pytest.mark.slow
def test_an_installed_wheel_does_its_work_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own that has only what SameLoop requires from this one; 1 to 3 minutes."""
    environment, here = tmp_path / "environment", tmp_path / "here"
    here.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    subprocess.run([python, "-m", "pip", "install", *options, wheel], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip())
    # A .pth file there has no power here: an editable SameLoop of this environment stays out.
    required = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "required.pth").write_text("\n".join([*required, sysconfig.get_path("platlib")]) + "\n")
    (environment / "share").mkdir(exist_ok=True)
    (environment / "share" / "sameloop").symlink_to(locate(REVIEWS).parent)

    def sameloop(*arguments: str) -> str:
        command = [environment / "bin" / "sameloop", *arguments]
        finished = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    result = subprocess.run([python, "-c", "import shared; print(shared.__file__)"], cwd=here, capture_output=True)
    assert Path(result.stdout.decode().strip()).is_relative_to(packages)
    assert sameloop("fetch").strip() == str(environment / "share" / "sameloop")
    assert "intact" in sameloop("doctor")
    assert "\nidentical: all 16 steps" in sameloop("compare", "--preset", "tiny")
    assert (here / "runs" / "tiny" / "report.html").is_file()
    sameloop("plot", "runs/tiny", "--kind", "losses")
    sameloop("eject", "--preset", "tiny", "--max-grad-norm", "1", "-o", "ejected.py")
    assert "identical: 15 of 15" in sameloop("check", "ejected.py")
    assert [path.name for path in sorted(here.iterdir())] == ["ejected.py", "runs"]
