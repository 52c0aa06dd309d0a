"""The kernel's walls around a checked loop, on Linux: they hold in whatever language the loop's code is written.

There are three kinds. A process raises each one around itself, after it was forked from one that has imported
everything; that is why no program such as bubblewrap is used, which would have to be started first.

- Namespaces: a world of its own, with the files that it may read, its own folder, no other process, and no network.
  When its first process ends, so does everything in it.
- Landlock: the files it may read and write, and the processes it may signal; containers without namespaces allow it.
- A seccomp filter: a system call that no training makes ends the process.

See user_namespaces(7), pid_namespaces(7), mount_setattr(2), landlock(7) and seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import site
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import psutil

from benchmarks.check.calls import CHECKED, DEADLY, PROCESSORS, WITHOUT_EFFECT
from shared.starting.children import ROOT, SET_PARENT_DEATH_SIGNAL

# linux/sched.h: mount, host name, IPC, user, process and network namespaces.
NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
# linux/mount.h
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXECUTION, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 1 << 18
DETACH = 2
# linux/fcntl.h
HERE, WHOLE_TREE, NO_FOLLOW = -100, 0x8000, 0x100
# linux/prctl.h
NO_NEW_PRIVILEGES, DROP_FROM_BOUNDS, SECCOMP, FILTER, BECOME_SUBREAPER = 38, 24, 22, 2, 36
CAPABILITY_VERSION = 0x20080522  # linux/capability.h
# System calls; their numbers are the same on every processor.
MOUNT_SETATTR, CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 442, 444, 445, 446
# linux/landlock.h: the rights, by the version that introduced them: for files, for TCP (to listen, to connect), and
# for what it isolates (abstract sockets, signals).
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
NETWORK_RIGHTS, SCOPES = {4: 3}, {6: 3}
READING = 1 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
NODES = 1 << 6 | 1 << 11  # to make devices
NOT_OF_FOLDERS = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # rights on a file itself

# What Python and the libraries read of a system, in addition to their own folders.
SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/sys/devices/system/cpu"),
    *(f"/etc/{name}" for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "fonts")),
    *(f"/etc/{name}" for name in ("passwd", "group", "nsswitch.conf", "os-release")),
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SHARED_MEMORY = "/dev/shm"
# The size of a world of its own: of its folder and its shared memory together.
WORLD_MB, WORLD_FILES = 500, 50_000


class Walls(NamedTuple):
    """The kernel's walls that are available on this machine.

    Attributes:
        namespaces, landlock, seccomp: empty if it is available, otherwise the reason why not.
    """

    namespaces: str = "this is not Linux"
    landlock: str = "this is not Linux"
    seccomp: str = "this is not Linux"

    def missing(self) -> str | None:
        """The walls that are not available, in one line; None if all are."""
        unavailable = [f"{name} ({why})" for name, why in self._asdict().items() if why]
        if not unavailable:
            return None
        rest = "the others and Python's audit hook" if len(unavailable) < len(self) else "Python's audit hook alone"
        return f"walls of the kernel that are not available here: {', '.join(unavailable)}; used instead: {rest}"


def available() -> Walls:
    """Try in separate processes which walls are available here."""
    if not sys.platform.startswith("linux"):
        return Walls()

    def world() -> None:
        _leave_namespaces()
        _in_fork(lambda: _change_root(root, own_folder, readable(())))

    with tempfile.TemporaryDirectory(prefix="sameloop-check-") as folder:
        root, own_folder = Path(folder, "root"), Path(folder, "loop")
        root.mkdir()
        own_folder.mkdir()
        return Walls(*map(_reason, (world, lambda: _landlock((), ()), lambda: _filter_calls(False))))


def _reason(wall: Callable[[], None]) -> str:
    try:
        _in_fork(wall)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def _in_fork(call: Callable[[], None]) -> None:
    """Call it in a child process, and raise here the `OSError` that it raises there."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as result_stream:
            number, _, function_name = result_stream.read().partition(" ")
        os.waitpid(pid, 0)
        if number != "0":
            raise OSError(int(number or errno.EPERM), os.strerror(int(number or errno.EPERM)), function_name or "fork")
        return
    text = "0"
    try:
        call()
    except OSError as error:
        text = f"{error.errno or errno.EPERM} {error.filename or ''}"
    os.write(writing, text.encode())
    os._exit(0)


def readable(files: Iterable[str]) -> list[str]:
    """The files and folders that a loop may read: the system's, Python's, SameLoop's, and its own `files`."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    pythons = [f"{prefix}/{name}" for prefix in prefixes for name in ("bin", "lib", "lib64", "pyvenv.cfg")]
    # Not the whole folder of SameLoop: submissions may be in it.
    entries = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
    ours = [str(ROOT / name) for name in ("benchmarks", "manual_loop", "shared", "trainer_loop", "sameloop.py")]
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths = {*SYSTEM, *DEVICES, "/proc", *pythons, *entries, *libraries, site.getusersitepackages(), *ours, *files}
    # With the targets of links.
    return sorted({place for path in paths for place in (path, os.path.realpath(path)) if Path(place).exists()})


def begin(walls: Walls) -> int | None:
    """Continue as the first process of a world of its own, if there can be one; this process waits for it.

    This must come first, because it needs a process without threads. The walls are complete after `enter`.

    Returns:
        The pipe for the exit status, which `enter` writes; None: there is no such world.
    """
    if not sys.platform.startswith("linux"):
        return None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if walls.namespaces:
        return None
    _leave_namespaces()
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        ending = os.read(reading, 20)
        status = os.waitpid(pid, 0)[1]  # everything in its world has ended with it
        _end_as(int(ending) if ending else status)
    os.close(reading)
    _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.setsid()
    return writing


def enter(walls: Walls, writing: int | None, root: Path, own_folder: Path, may_read: Sequence[str]) -> None:
    """Continue as a process within the walls. This process waits for it and then ends everything that is left.

    Args:
        walls: the result of `available`.
        writing: the result of `begin`.
        root: an empty folder.
        own_folder: where it may write.
        may_read: files and folders, the result of `readable`.

    Raises:
        OSError: a wall cannot be raised.
    """
    if not sys.platform.startswith("linux"):
        return
    if writing is not None:
        _change_root(root, own_folder, may_read)
    else:
        _prctl(BECOME_SUBREAPER, 1)
    if pid := os.fork():
        status = _wait_for(pid)
        if writing is not None:
            os.write(writing, str(status).encode())
            os._exit(0)  # with the first process of a world the kernel ends all others
        _end_the_rest()
        _end_as(status)
    if writing is not None:
        os.close(writing)
    # In a new group, so that a signal to the whole group does not reach the processes above.
    os.setsid()
    _drop_capabilities()
    if not walls.landlock:
        _landlock(may_read, [str(own_folder), SHARED_MEMORY, *DEVICES])
    if not walls.seccomp:
        _filter_calls(bool(walls.namespaces))
    _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)  # last, because the other calls would undo it


def _wait_for(pid: int) -> int:
    """The status that a child ends with; until then, collect the processes that have lost their parent."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return status


def _end_the_rest() -> None:
    """End all processes that the loop has started, also those that start meanwhile."""
    while remaining := psutil.Process().children(recursive=True):
        for child in remaining:
            with suppress(psutil.Error):
                child.kill()
        with suppress(ChildProcessError):
            os.wait()


def _end_as(status: int) -> NoReturn:
    """End as a wait status says."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


# Namespaces -----------------------------------------------------------------------------------------


def _leave_namespaces() -> None:
    """Leave the machine's namespaces; the next child is the first process of a world of its own."""
    user, group = os.geteuid(), os.getegid()
    _libc("unshare", NEW_NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _change_root(root: Path, own_folder: Path, may_read: Sequence[str]) -> None:
    """Keep only the files that may be read, and in memory the loop's own folder and one for shared memory."""
    _libc("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)
    size = f"size={WORLD_MB}m,nr_inodes={WORLD_FILES},mode=755".encode()
    _libc("mount", b"tmpfs", bytes(root), b"tmpfs", NO_SUID | NO_DEVICES, size)
    done: list[str] = []
    for path in may_read:
        if path == "/proc" or any(path.startswith(f"{other}/") for other in done):
            continue
        place = Path(f"{root}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        if Path(path).is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        _libc("mount", os.fsencode(path), bytes(place), None, BIND | RECURSIVE, None)
        done.append(path)
    places = {name: Path(f"{root}{name}") for name in ("/proc", "/tmp", SHARED_MEMORY, str(own_folder))}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    flags = NO_SUID | NO_DEVICES | NO_EXECUTION | READ_ONLY
    _libc("mount", b"proc", bytes(places["/proc"]), b"proc", flags, None)
    _set_attributes(root, READ_ONLY | NO_SUID, 0)
    for place in (places[SHARED_MEMORY], places[str(own_folder)]):
        _libc("mount", bytes(place), bytes(place), None, BIND, None)
        _set_attributes(place, 0, READ_ONLY)
    os.chdir(root)
    _libc("pivot_root", b".", b".")
    _libc("umount2", b".", DETACH)
    os.chdir(own_folder)


def _set_attributes(place: Path, set_flags: int, cleared: int) -> None:
    attributes = struct.pack("QQQQ", set_flags, cleared, 0, 0)
    _libc("syscall", MOUNT_SETATTR, HERE, bytes(place), WHOLE_TREE | NO_FOLLOW, attributes, len(attributes))


def _drop_capabilities() -> None:
    """Give up all privileges, and the possibility to get one by starting a program."""
    _prctl(NO_NEW_PRIVILEGES, 1)
    with suppress(OSError):  # this kernel has no more of them, or none may be dropped
        for number in range(64):
            _prctl(DROP_FROM_BOUNDS, number)
    _libc("capset", struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24))


# Landlock -------------------------------------------------------------------------------------------


def _landlock(may_read: Sequence[str], may_write: Sequence[str]) -> None:
    version = _libc("syscall", CREATE_RULESET, None, 0, 1)
    files, network, scopes = (
        max((rights for first, rights in rights_of.items() if first <= version), default=0)
        for rights_of in (FILE_RIGHTS, NETWORK_RIGHTS, SCOPES)
    )
    attributes = struct.pack("QQQ", files, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _libc("syscall", CREATE_RULESET, attributes, len(attributes), 0)
    for path, rights in [*((path, READING) for path in may_read), *((path, files & ~NODES) for path in may_write)]:
        if Path(path).exists():
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights & files & (-1 if Path(path).is_dir() else NOT_OF_FOLDERS)
            _libc("syscall", ADD_RULE, rules, 1, struct.pack("=Qi", allowed, place), 0)
            os.close(place)
    _prctl(NO_NEW_PRIVILEGES, 1)
    _libc("syscall", RESTRICT_SELF, rules, 0)
    os.close(rules)


# Seccomp --------------------------------------------------------------------------------------------

KILL, ERROR, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000  # linux/seccomp.h
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
OTHER_NUMBERS = 0x40000000  # from here on x86_64 has its calls again


def _filter_calls(without_modes: bool) -> None:
    """End the process at a system call that no training makes.

    Args:
        without_modes: whether calls that change modes, owners and times are also without effect.
    """
    machine = os.uname().machine
    if machine not in PROCESSORS:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), f"seccomp on {machine}")
    index, architecture = PROCESSORS[machine]
    program: list[tuple[int, int, int, int | None]] = [
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),
    ]
    program += [(AT_LEAST, 0, 1, OTHER_NUMBERS), (RETURN, 0, 0, KILL)]
    plain = [(numbers, KILL) for numbers in DEADLY]
    plain += [(numbers, ERROR) for numbers in WITHOUT_EFFECT if without_modes]
    for numbers, action in plain:
        if (number := numbers[index]) is not None:
            program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, action)]
    for numbers, place, passes, code in CHECKED:
        # Load the argument, allow the one value, and load the number again for the next comparison.
        program += [(EQUAL, 0, 4, numbers[index]), (LOAD, 0, 0, 16 + 8 * place), (EQUAL, 1, 0, passes)]
        program += [(RETURN, 0, 0, ERROR | code if code else KILL), (LOAD, 0, 0, 0)]
    program.append((RETURN, 0, 0, ALLOW))
    lines = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    _prctl(NO_NEW_PRIVILEGES, 1)
    _prctl(SECCOMP, FILTER, struct.pack("HxxxxxxQ", len(program), ctypes.addressof(lines)))


# The C library --------------------------------------------------------------------------------------


def _libc(name: str, *arguments: Any) -> int:
    """Call a function of the C library.

    Raises:
        OSError: it failed; `filename` is the name of the function.
    """
    # As wide as a register: with a plain int the upper half would be undefined.
    wide = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = ctypes.CDLL(None, use_errno=True)[name](*wide)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def _prctl(*arguments: Any) -> int:
    return _libc("prctl", *arguments, *[0] * (5 - len(arguments)))
