"""The first command on machines that are not ready for it: one line, and nothing half made is left."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("Makefile", "pyproject.toml", "constraints.txt", "shared/sources/embedded.txt")


def make(folder: Path, **tools: str) -> subprocess.CompletedProcess[str]:
    """`make install` in a copy, with these commands in the place of the machine's own."""
    for name in NEEDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "bin").mkdir()
    for name, script in tools.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    return subprocess.run(
        ["make", "install"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


# As Debian's without python3-venv: the folder is there, and no pip in it.
NO_ENSUREPIP = """
case "$*" in
*"-m venv"*) mkdir -p .venv/bin && printf '#!/bin/sh\\nexit 0\\n' > .venv/bin/python && chmod +x .venv/bin/python
  echo "ensurepip is not available" >&2; exit 1;;
esac
"""


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ({"python3": "exit 1"}, "SameLoop needs Python 3.10 or newer"),
        ({"python3": NO_ENSUREPIP}, "apt install python3-venv"),
        ({"uname": "echo Darwin x86_64"}, "needs a Mac with Apple Silicon"),
        ({"uname": "echo MINGW64_NT-10.0 x86_64"}, "on Windows use WSL"),
    ],
    ids=["an old Python", "no ensurepip", "an Intel Mac", "Windows"],
)
def test_what_is_missing_is_named(tools: dict[str, str], message: str, tmp_path: Path) -> None:
    result = make(tmp_path, **tools)
    assert result.returncode == 2
    assert message in result.stdout and "Traceback" not in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    """The next command found `.venv/bin/python` there and went on without pip."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\ncase "$*" in *pip*) exit 1;; esac\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    whole = """
case "$*" in
*"-m venv"*) mkdir -p .venv/bin && printf '#!/bin/sh\\necho "$@" >> ran\\n' > .venv/bin/python
  chmod +x .venv/bin/python;;
esac
"""
    result = make(tmp_path, python3=whole)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pip install" in (tmp_path / "ran").read_text()


@pytest.mark.parametrize("there", [True, False])
def test_uv_installs_or_else_pip(there: bool, tmp_path: Path) -> None:
    script = f'echo "$@" >> ran\ncase "$*" in *"-m uv"*) exit {0 if there else 1};; esac'
    whole = f"""
case "$*" in
*"-m venv"*) mkdir -p .venv/bin && cat > .venv/bin/python <<'END'
#!/bin/sh
{script}
END
  chmod +x .venv/bin/python;;
esac
"""
    assert make(tmp_path, python3=whole).returncode == 0
    installs = [line for line in (tmp_path / "ran").read_text().splitlines() if "install" in line]
    assert ["-m uv" in line for line in installs] == ([False, True] if there else [False, True, False])
    # Within the tested versions, whoever does it.
    assert all("-c constraints.txt" in line for line in installs)
    assert all("editable_mode=compat" in line for line in installs[1:])
