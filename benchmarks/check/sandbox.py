"""What a checked loop may do to the machine: train. What it must not do is refused, and said.

Two walls. The kernel's: no network where a process may have a namespace of its own, and limits on memory and files.
Python's: an audit hook (PEP 578), which cannot be taken off again, refuses to connect, to start or to end processes,
and to write outside the loop's own folder. This holds against mistakes and against what a student would try. It is no
prison for native code: SECURITY.md says what that means.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
# No file may grow beyond this: a tape of two epochs has some 250 MB.
LARGEST_FILE = 4 * 1024**3
WRITES = frozenset("wax+")
STANDARD_LIBRARY = sysconfig.get_path("stdlib")
INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})

NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo")
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
# Which of an event's arguments are paths that it changes.
CHANGES = {
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
}


def leave_the_network() -> bool:
    """Have this process see no network at all, if the kernel lets it; call it before there are threads."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))


def limit_memory(megabytes: int) -> None:
    """Let this process take so much more address space than it has now, and write no endless file."""
    with suppress(ValueError, OSError):  # the machine's own limits are tighter
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        most = psutil.Process().memory_info().vms + megabytes * 1024 * 1024
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def lock(own_folder: Path, own_files: Iterable[str], on_refusal: Callable[[str], None]) -> None:
    """From now on refuse, in this process and for good, what a loop has no business with.

    Args:
        own_folder: where it may write.
        own_files: the loop's files: what they ask for themselves is said to `on_refusal`; what a library asks for is
            refused without a word, or allowed: torch may start the processes of a loader.
        on_refusal: takes what was tried, in words.
    """
    own, own_files = str(own_folder.resolve()), frozenset(own_files)
    realpath, fspath, getpid, parent_of = os.path.realpath, os.fspath, os.getpid, _parent_of
    devices = (os.devnull, "/dev/shm", "/dev/tty")

    def is_outside(path: Any) -> bool:
        if path is None or isinstance(path, int):
            return False
        with suppress(TypeError, ValueError):
            whole = realpath(os.fsdecode(fspath(path)))
            return not (whole == own or whole.startswith((own + os.sep, *devices)))
        return False

    def refused(event: str, arguments: tuple) -> str | None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(WRITES & set(mode)) if mode else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            return f"it tried to write to {_shown(path)}" if writes and is_outside(path) else None
        if event in CHANGES:
            changed = [arguments[place] for place in CHANGES[event]]
            outside = next((path for path in changed if is_outside(path)), None)
            return None if outside is None else f"it tried to change {_shown(outside)} ({event})"
        if event in NETWORK:
            return f"it tried to reach the network ({event})"
        if event in PROCESSES:
            return f"it tried to start a process ({event})"
        if event in ("os.kill", "os.killpg", "signal.pthread_kill"):
            number = arguments[0]
            return (
                None
                if event == "os.kill" and parent_of(number) == getpid()
                else f"it tried to end a process ({event})"
            )
        return None

    def hook(event: str, arguments: tuple) -> None:
        if (
            event != "open"
            and event not in CHANGES
            and not event.startswith(("socket.", "os.", "subprocess.", "pty."))
        ):
            return
        what = refused(event, arguments)
        if what is None:
            return
        caller = _caller()
        if event in PROCESSES and caller is not None and caller not in own_files and event == "os.fork":
            return
        if caller is None or caller in own_files:
            on_refusal(what)
        raise PermissionError(f"refused in a check: {what}")

    sys.addaudithook(hook)


def _caller() -> str | None:
    """The file of the innermost running code that is not the standard library's."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        standard = file.startswith("<frozen") or (file.startswith(STANDARD_LIBRARY) and not file.startswith(INSTALLED))
        if not standard and file != __file__:
            return file
        frame = frame.f_back
    return None


def _parent_of(number: int) -> int | None:
    with suppress(psutil.Error):
        return psutil.Process(number).ppid()
    return None


def _shown(path: Any) -> str:
    return str(path)[-80:]
