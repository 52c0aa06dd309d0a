"""The numbers of system calls that no training makes: the seccomp filter of `walls` is made from them.

Each call has two numbers, for x86_64 and for aarch64, which lacks some (None). Source: asm/unistd_64.h and
asm-generic/unistd.h.
"""

from __future__ import annotations

import errno

Numbers = tuple[int, int | None]

# By processor: the index of its number in such a pair, and its own number in linux/audit.h.
PROCESSORS = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# These calls end the process.
DEADLY: tuple[Numbers, ...] = (
    *((133, None), (259, 33)),  # nodes: mknod, mknodat
    *((101, 117), (310, 270), (311, 271), (312, 272)),  # other processes: ptrace, process_vm_readv, ..., kcmp
    *((424, 424), (434, 434), (438, 438), (440, 440)),  # pidfd_send_signal, pidfd_open, ..., process_madvise
    *((272, 97), (308, 268), (165, 40), (166, 39), (155, 41), (161, 51)),  # unshare, setns, mount, ..., chroot
    *((428, 428), (429, 429), (430, 430), (431, 431), (432, 432), (442, 442)),  # open_tree, ..., mount_setattr
    *((248, 217), (249, 218), (250, 219)),  # keys: add_key, request_key, keyctl
    *((321, 280), (323, 282), (425, 425)),  # the kernel's own programs: bpf, userfaultfd, io_uring_setup
    *((29, 194), (64, 190), (68, 186)),  # things that outlive a process: shmget, semget, msgget
)
# Calls for which an argument decides: its index, the one value that is allowed, and the error for other values (None:
# the process ends). They change limits and priorities of other processes, or open sockets other than local ones.
CHECKED: tuple[tuple[Numbers, int, int, int | None], ...] = (
    ((302, 261), 0, 0, None),  # prlimit
    ((141, 140), 1, 0, None),  # setpriority
    ((41, 198), 0, 1, errno.EACCES),  # socket
)
# These change modes, owners, times and attributes, which Landlock does not cover. Where there are no namespaces, they
# do nothing and report success to the caller: otherwise a library that copies a file would stop.
WITHOUT_EFFECT: tuple[Numbers, ...] = (
    *((90, None), (91, 52), (268, 53), (452, 452)),  # chmod, fchmod, fchmodat, fchmodat2
    *((92, None), (93, 55), (94, None), (260, 54)),  # chown, fchown, lchown, fchownat
    *((132, None), (235, None), (261, None), (280, 88)),  # utime, utimes, futimesat, utimensat
    *((188, 5), (189, 6), (190, 7), (197, 14), (198, 15), (199, 16)),  # setxattr, ..., removexattr, ...
)
