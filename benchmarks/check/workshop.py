"""Start the processes of checks: all are forked from one server, which imports torch and transformers once."""

from __future__ import annotations

import json
import os
import site
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.check.walls import available
from shared.errors import SameLoopError
from shared.progress import announce
from shared.running.forkserver import LIBRARIES, ForkServer
from shared.sources.embedded import cache_folder
from shared.starting.children import function_argv
from shared.starting.interrupt import signals_wait
from shared.starting.launch import Family, Process

# The environment variables that a loop sees; none of them may be a secret.
VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT")
OURS = ("benchmarks.check.child", "benchmarks.check.watch", "benchmarks.check.judge", "benchmarks.check.warm")


class Workshop:
    """Context manager that starts the processes of checks, and ends all of them on exit.

    On macOS, where a process that has imported torch may not be forked, each imports it again.

    Attributes:
        walls: the kernel's walls that are available here.
    """

    def __enter__(self) -> Workshop:
        self._lock = threading.Lock()
        self._home = tempfile.TemporaryDirectory(prefix="sameloop-check-")
        # On macOS a process that has imported torch may not be forked. A GPU does not matter: nothing here uses it.
        self._server = self._new_server() if sys.platform == "linux" else None
        self.walls = available()
        if missing := self.walls.missing():
            announce(missing)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._server is not None:
            self._server.end()
        self._home.cleanup()

    def _new_server(self) -> ForkServer:
        return ForkServer((*LIBRARIES, *OURS), environment(Path(self._home.name)))

    def start(
        self, family: Family, function: tuple[str, str], options: Mapping[str, Any], folder: Path, output: int, fd: int
    ) -> Process:
        """Start a process that calls a function of SameLoop's.

        Args:
            family: the process ends with it.
            function: its module and its name.
            options: its argument, as JSON, together with `fd`.
            folder: the working directory and the home of the process.
            output: an open file for what the process prints.
            fd: an open file that the process gets under the same number.

        Raises:
            SameLoopError: the system cannot start a process.
        """
        command = function_argv(*function, json.dumps({**options, "number": fd}))
        variables = environment(folder)
        with Path(os.devnull).open("rb") as nothing, signals_wait():
            if (server := self._server) is None:
                streams = {"stdin": nothing, "stdout": output, "stderr": output, "pass_fds": [fd]}
                return family.start(command, variables, cwd=folder, **streams)
            files = {0: nothing.fileno(), 1: output, 2: output, fd: fd}
            try:
                process: Process = server.start(command, variables, str(folder), files)
            except SameLoopError:
                # The system may have ended the server, perhaps because of its memory; this tries only once more.
                process = self._in_place_of(server).start(command, variables, str(folder), files)
            family.members.append(process)
            return process

    def _in_place_of(self, server: ForkServer) -> ForkServer:
        """The server that replaces one that has ended; the first caller starts it."""
        with self._lock:
            if self._server is None or self._server is server:
                server.end()
                self._server = self._new_server()
            return self._server


def environment(home: Path) -> dict[str, str]:
    """The environment variables of a check's process."""
    return {
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
        "HOME": str(home),
        # Not from that home, because packages and the embedded assets may be installed for this user only.
        "PYTHONUSERBASE": site.getuserbase(),
        "TMPDIR": str(home),
        "SAMELOOP_CACHE": str(cache_folder()),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        # Otherwise tokenizers warns that it was forked.
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
