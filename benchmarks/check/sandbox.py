"""What a checked loop may do to the machine: train. Everything else is refused and reported.

The kernel's walls, see `walls`, hold whatever a loop tries. This module reports in words what was tried: an audit hook
of Python (PEP 578), which cannot be removed, refuses to connect, to start or to end processes, to write outside the
loop's own folder, to read files that are not its business, and to manipulate the hook. On macOS it is the only wall.
It does not see code that is not Python: SECURITY.md says what that means.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

# The size limit of a file: a recording of two epochs has about 200 MB.
LARGEST_FILE = 4 * 1024**3
STANDARD_LIBRARY = sysconfig.get_path("stdlib")
INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
NETWORK = ("socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo")
PROCESSES = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
)
ENDING = ("os.kill", "os.killpg", "signal.pthread_kill")
# For each event the indices of the arguments that are paths it changes, and of the folders these are relative to.
CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.removexattr": ((0, None),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.setxattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "shutil.rmtree": ((0, None),),
    "sqlite3.connect": ((0, None),),
}
# Events that a loop causes itself only if it wants to manipulate the hook or to get around it.
TRICKS = {
    "ctypes.dlopen": "to call code that is not Python (ctypes)",
    "ctypes.dlsym": "to call code that is not Python (ctypes)",
    "resource.prlimit": "to change the limits of a process (resource.prlimit)",
}
# The folder that gives the path of an open file's number; macOS has none.
NUMBERS = "/proc/self/fd/" if sys.platform.startswith("linux") else ""
LISTING = ("os.listdir", "os.scandir")


def limit_memory(megabytes: int) -> None:
    """Limit how much more address space this process may take, and the size of the files that it writes."""
    with suppress(ValueError, OSError):  # the machine's own limits are lower
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        most = psutil.Process().memory_info().vms + megabytes * 1024 * 1024
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def lock(
    own_folder: Path, may_read: Sequence[str], own_files: Iterable[str], on_refusal: Callable[[str], None]
) -> None:
    """From now on, permanently refuse in this process everything that a loop has no business with.

    The hook uses this function's own variables: a loop that empties the lists above changes nothing.

    Args:
        own_folder: where it may write.
        may_read: files and folders; reading others is refused.
        own_files: the loop's files: what their own code tries is reported to `on_refusal`; what a library tries is
            refused without a report, or allowed: torch may start the processes of a loader.
        on_refusal: receives what was tried, in words.
    """
    folder, own_files = str(own_folder.resolve()), frozenset(own_files)
    realpath, fspath, getpid, parent_of, caller_of = os.path.realpath, os.fspath, os.getpid, _parent_of, _caller
    changes, network, processes, ending, tricks, listing = dict(CHANGES), NETWORK, PROCESSES, ENDING, TRICKS, LISTING
    known = frozenset({"open", *changes, *network, *processes, *ending, *tricks, *listing, "object.__setattr__"})
    # Events that a library may cause, but not the loop itself.
    own_only = frozenset({"os.fork", *tricks, *listing, "object.__setattr__"})
    writable = (folder, os.devnull, "/dev/shm", "/dev/tty")
    visible = (*writable, *may_read)
    # An import lists these folders.
    listed = frozenset(map(realpath, sys.path))
    local = socket.AF_UNIX
    write_flags, numbers = os.O_WRONLY | os.O_RDWR | os.O_CREAT, NUMBERS

    def expand(path: Any, base: int) -> str:
        """The absolute path of a path or an open file's number; `base`: the number of the folder it is relative to."""
        if isinstance(path, int):
            return realpath(f"{numbers}{path}")
        return realpath((f"{numbers}{base}/" if base >= 0 else "") + os.fsdecode(fspath(path)))

    def within(places: tuple[str, ...], path: Any, base: int = -1) -> bool:
        if path is None or ((isinstance(path, int) or base >= 0) and not numbers):
            return True
        with suppress(TypeError, ValueError):
            name = expand(path, base)
            if name.startswith("/proc/") and name.split("/")[2].isdigit() and name.split("/")[2] != str(getpid()):
                return False  # the data of another process
            return any(name == place or name.startswith(place + os.sep) for place in places)
        return True

    def is_local(event: str, arguments: tuple) -> bool:
        """Whether a socket connects processes, as those of a loader's workers, and has one of the loop's addresses."""
        if event == "socket.__new__":
            return arguments[1] == local
        address = arguments[-1]
        is_own = address is None or (isinstance(address, (str, bytes)) and within(writable, address))
        return is_own and getattr(arguments[0], "family", None) == local

    def open_refusal(path: Any, mode: str | None, flags: int | None) -> str | None:
        writes = any(letter in mode for letter in "wax+") if mode else bool((flags or 0) & write_flags)
        if isinstance(path, int) or within(writable if writes else visible, path):
            return None
        return f"it tried to {'write to' if writes else 'read'} {_shown(path)}"

    def refusal(event: str, arguments: tuple) -> str | None:
        if event == "open":
            return open_refusal(*arguments)
        if event in changes:
            pairs = [(arguments[place], -1 if base is None else arguments[base]) for place, base in changes[event]]
            outside = next((path for path, base in pairs if not within(writable, path, base)), None)
            in_memory = event == "sqlite3.connect" and str(outside) == ":memory:"
            return None if outside is None or in_memory else f"it tried to change {_shown(outside)} ({event})"
        if event in listing:
            path = arguments[0]
            return None if within(visible, path) or expand(path, -1) in listed else f"it tried to read {_shown(path)}"
        if event in network:
            if is_local(event, arguments):
                return None
            return f"it tried to reach the network ({event})"
        if event in processes:
            return f"it tried to start a process ({event})"
        if event in ending:
            is_child = event == "os.kill" and parent_of(arguments[0]) == getpid()
            return None if is_child else f"it tried to end a process ({event})"
        if event == "object.__setattr__":
            return "it tried to replace the code of a function" if arguments[1] == "__code__" else None
        return f"it tried {tricks[event]}"

    def hook(event: str, arguments: tuple) -> None:
        attempt = refusal(event, arguments) if event in known else None
        if attempt is None:
            return
        caller = caller_of()
        is_own = caller is None or caller in own_files
        if not is_own and (event in own_only or attempt.startswith("it tried to read")):
            return
        if event in listing and is_own and sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
            return  # the loop has put a folder on sys.path, and imports
        if is_own:
            on_refusal(attempt)
        raise PermissionError(f"refused in a check: {attempt}")

    sys.addaudithook(hook)


def _caller() -> str | None:
    """The file of the innermost running code that is not part of the standard library.

    Code that was compiled under a module's name, but is not part of it, is skipped: its caller counts.
    """
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        standard = file.startswith("<frozen") or (file.startswith(STANDARD_LIBRARY) and not file.startswith(INSTALLED))
        if not standard and file != __file__:
            module = sys.modules.get(str(frame.f_globals.get("__name__")))
            if module is not None and vars(module) is frame.f_globals and getattr(module, "__file__", None) == file:
                return file
        frame = frame.f_back
    return None


def _parent_of(number: int) -> int | None:
    with suppress(psutil.Error):
        return psutil.Process(number).ppid()
    return None


def _shown(path: Any) -> str:
    return str(path)[-80:]
