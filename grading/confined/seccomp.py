"""Which system calls a student's process may make: an allowlist that the kernel enforces."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import termios

from grading.confined.spawner import SpawnerError

# What Python and torch use to compute, to read modules and to answer on an open socket. Nothing
# here starts a process or a thread (whose number nothing else limits, and which take up what all
# of a machine share), opens a connection or reaches another process. Files are made and changed in
# a temporary folder, to which Landlock keeps them; none of these makes a link, a pipe or a socket,
# and fallocate, which goes beyond the limit of a file's size, is not one of them.
ALLOWED = (
    "read", "readv", "pread64", "write", "writev", "close", "lseek", "open", "openat",
    "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "fadvise64", "dup", "dup2",
    "dup3", "poll", "ppoll", "select", "pselect6", "recvfrom", "recvmsg", "getsockname",
    "getsockopt", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mincore",
    "futex", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "membarrier",
    "sched_yield", "sched_getaffinity", "getcpu", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "rt_sigpending", "sigaltstack", "restart_syscall", "nanosleep",
    "clock_nanosleep", "pause", "alarm", "setitimer", "getitimer", "clock_gettime",
    "clock_getres", "gettimeofday", "time", "times", "getrusage", "getrlimit", "sysinfo", "uname",
    "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid",
    "getresgid", "getgroups", "getpgrp", "getpgid", "getsid", "getpriority", "umask",
    "getrandom", "exit", "exit_group",
    "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2",
    "ftruncate", "pwrite64", "sendfile", "fsync", "fdatasync",
)  # fmt: skip
FIOCLEX, FIONBIO = 0x5451, 0x5421
F_DUPFD_CLOEXEC = 1030
PR_SET_NAME, PR_SET_VMA = 15, 0x53564D41
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
INSTRUCTION_BYTES = 8


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def compile_filter() -> bytes:
    """Return the allowlist as a program for the kernel: other calls fail with EPERM.

    Raise SpawnerError if the libraries for it are missing.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError) as error:
        raise SpawnerError(
            f"seccomp filters cannot be made ({error}): install the extra 'grading' and, on "
            "Debian or Ubuntu, libseccomp2"
        ) from None
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    native = pyseccomp.system_arch()
    for name in ALLOWED:
        if pyseccomp.resolve_syscall(native, name) >= 0:
            made.add_rule(pyseccomp.ALLOW, name)
    for name, index, value in _CONDITIONS:
        made.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(index, pyseccomp.EQ, value))
    own_limits = (pyseccomp.Arg(0, pyseccomp.EQ, 0), pyseccomp.Arg(2, pyseccomp.EQ, 0))
    made.add_rule(pyseccomp.ALLOW, "prlimit64", *own_limits)
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


# System calls that are fine with one value of one argument: (name, argument, value).
_CONDITIONS = (
    ("sendto", 4, 0),  # no address: the socket that is open already
    *(("ioctl", 1, request) for request in (termios.TCGETS, FIOCLEX, FIONBIO)),
    *(
        ("fcntl", 1, command)
        for command in (
            fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL, fcntl.F_DUPFD,
            F_DUPFD_CLOEXEC,
        )
    ),
    *(("prctl", 0, option) for option in (PR_SET_NAME, PR_SET_VMA)),
)  # fmt: skip


def load_filter(libc: ctypes.CDLL, program: bytes) -> None:
    """Put this process under the filter for good. Raise OSError if the kernel refuses."""
    wanted = _Program(len(program) // INSTRUCTION_BYTES, program)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp filter refused")
