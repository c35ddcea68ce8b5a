"""How a forked child gives up all it does not need, before it reads a byte of student code."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from grading.confined import scratch
from grading.confined.orders import Setup

if TYPE_CHECKING:
    from landlockpy import Ruleset

WIRE = 3
NOBODY = 65534
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER = 1, 4, 8, 36
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, INSTRUCTION_BYTES = 22, 2, 8
SIGKILL = 9
OPEN_FILES = 64
FIRST_TO_GO = "1000"
HIGHEST_DESCRIPTOR = 65536
# Devices, and the clock's settings, that Python or numpy may open late.
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_CLOCK = ("/etc/localtime", "/usr/share/zoneinfo")

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Identity:
    """The user that root's children become.

    ``searching`` tells that they keep the right to read any file, which Landlock bounds: the
    interpreter is where only root can look.
    """

    user: int
    searching: bool

    def take_on(self) -> None:
        """Become that user for good. Raise OSError if this process may not."""
        _check(libc.prctl(PR_SET_KEEPCAPS, int(self.searching), 0, 0, 0))
        os.setgroups([])
        os.setresgid(self.user, self.user, self.user)
        os.setresuid(self.user, self.user, self.user)
        _keep_capabilities(1 << CAP_DAC_READ_SEARCH if self.searching else 0)


@dataclass
class Locks:
    """The locks of one isolation level: prepared in the warm process, and closed in each child."""

    setup: Setup
    readable: Sequence[Path] = ()
    identity: Identity | None = None
    ruleset: Ruleset | None = None
    folder: Path | None = None
    parent: int = 0

    @classmethod
    def prepared(cls, setup: Setup) -> Locks:
        """Find out what is to be locked. Raise OSError or ImportError without Landlock."""
        if setup.isolation == "minimal":
            return cls(setup)
        from landlockpy import Ruleset

        Ruleset().close()
        readable = [path for path in setup.software.readable() if path.exists()]
        return cls(setup, readable, _identity(readable, Path(setup.scratch)))

    @property
    def as_root(self) -> bool:
        """Whether locked children stay root, as no other user can read what they import."""
        return self.setup.isolation != "minimal" and self.identity is None and not os.geteuid()

    def of_this_process(self) -> Locks:
        """Return the locks for the children of this process, which use one folder in turn."""
        root = Path(self.setup.scratch)
        user = self.identity.user if self.identity else None
        folder = scratch.made(root, str(os.getpid()), user)
        rules = None if self.setup.isolation == "minimal" else _ruleset(self.readable, folder)
        return replace(self, ruleset=rules, folder=folder, parent=os.getpid())

    def close_in(self, wire: socket.socket, memory_mib: int, cpu_seconds: int) -> socket.socket:
        """Lock this process down for good, and return its one open socket.

        ``memory_mib`` is what it may use beyond what it has already, ``cpu_seconds`` a limit of
        the kernel's own, in case the judge's side cannot keep its deadline.
        """
        os.setsid()
        # When memory runs out, the kernel ends this process first, and not a grader's.
        with contextlib.suppress(OSError):  # a system that has no such choice
            Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
        assert self.folder is not None
        # The private folder becomes this process's own: where it is, and where its files go.
        os.chdir(self.folder)
        os.environ.update(TMPDIR=str(self.folder), HOME=str(self.folder))
        tempfile.tempdir = str(self.folder)
        if self.identity is not None:
            self.identity.take_on()
        _limit(memory_mib, cpu_seconds)
        die_with(self.parent)
        _check(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        if self.ruleset is not None:
            if self.identity is None:
                _keep_capabilities(0)
            self.ruleset.restrict()
        os.dup2(wire.detach(), WIRE)
        answering = socket.socket(fileno=WIRE)
        os.closerange(WIRE + 1, HIGHEST_DESCRIPTOR)
        if self.setup.seccomp:
            _load_filter(self.setup.seccomp)
        return answering


def die_with(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent ends."""
    _check(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind."""
    _check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def open_ways(locks: Locks) -> list[str]:
    """Return what a locked child can still do, found by trying: nothing if every lock holds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if not (pid := os.fork()):
            _try_all(locks, theirs)
        theirs.close()
        said = b"".join(iter(lambda: ours.recv(4096), b""))
        os.waitpid(pid, 0)
    text = said.decode(errors="replace")
    return [] if text == "held" else (text or "the locked process died").split("\n")


def _try_all(locks: Locks, wire: socket.socket) -> NoReturn:
    try:
        answering = locks.close_in(wire, memory_mib=1024, cpu_seconds=60)
        ways = _WAYS | {
            f"it can read {each}": partial(Path(each).read_bytes) for each in locks.setup.forbidden
        }
        through = [name for name, way in ways.items() if locks.ruleset and _works(way)]
        answering.sendall("\n".join(through).encode() or b"held")
    except OSError as error:
        wire.sendall(f"it cannot be locked: {error}".encode())
    finally:
        os._exit(0)


def _works(way: Callable[[], object]) -> bool:
    try:
        way()
    except OSError:
        return False
    return True


def _fork() -> None:
    if not os.fork():
        os._exit(0)


_WAYS: dict[str, Callable[[], object]] = {
    "it can list /": lambda: list(Path("/").iterdir()),
    "it can read /proc/1/status": lambda: Path("/proc/1/status").read_bytes(),
    "it can write a file": lambda: os.open("/tmp/written", os.O_WRONLY | os.O_CREAT),
    "it can open a socket": socket.socket,
    "it can start a process": _fork,
    "it can signal its parent": lambda: os.kill(os.getppid(), 0),
    "it can change a file's mode": lambda: Path("/tmp").chmod(0o777),
}


def _ruleset(readable: Sequence[Path], folder: Path) -> Ruleset:
    """Allow reading what is ``readable`` and a few devices, using ``folder``, and no more."""
    from landlockpy import AccessFS, Ruleset, Scope

    rules = Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL)
    for path in (*readable, *filter(Path.exists, map(Path, _CLOCK))):
        wanted = AccessFS.READ_FILE | (AccessFS.READ_DIR if path.is_dir() else AccessFS.NONE)
        rules.allow_path(path, wanted)
    for path in filter(Path.exists, map(Path, _DEVICES)):
        rules.allow_path(path, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
    reading = AccessFS.READ_FILE | AccessFS.READ_DIR
    writing = AccessFS.WRITE_FILE | AccessFS.TRUNCATE | AccessFS.MAKE_REG | AccessFS.MAKE_DIR
    rules.allow_path(folder, reading | writing | AccessFS.REMOVE_FILE | AccessFS.REMOVE_DIR)
    return rules


def _identity(readable: Sequence[Path], folder: Path) -> Identity | None:
    """Return whom root's children become: nobody, if that user can read what Python imports."""
    if not os.geteuid():
        for identity in (Identity(NOBODY, searching=False), Identity(NOBODY, searching=True)):
            if _can_read(identity, readable, folder):
                return identity
    return None


def _can_read(identity: Identity, readable: Sequence[Path], folder: Path) -> bool:
    if not (pid := os.fork()):
        code = 1
        try:
            identity.take_on()
            folder.stat()
            for path in readable:
                os.close(os.open(path, os.O_RDONLY))
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


class _CapabilityHeader(ctypes.Structure):
    """``struct __user_cap_header_struct`` of linux/capability.h."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _keep_capabilities(kept: int) -> None:
    """Give up all capabilities but those in the mask ``kept``."""
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept)  # effective, permitted
    _check(libc.capset(ctypes.byref(header), ctypes.byref(sets)))


def _limit(memory_mib: int, cpu_seconds: int) -> None:
    with contextlib.suppress(ValueError):  # already limited to less
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    largest = scratch.FILE_MIB * scratch.MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    page = os.sysconf("SC_PAGE_SIZE")
    sizes = Path("/proc/self/statm").read_text(encoding="ascii").split()
    for kind, used in ((resource.RLIMIT_AS, sizes[0]), (resource.RLIMIT_DATA, sizes[5])):
        most = int(used) * page + memory_mib * 2**20
        resource.setrlimit(kind, (most, most))


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _load_filter(program: bytes) -> None:
    """Put this process under a seccomp filter for good."""
    wanted = _Program(len(program) // INSTRUCTION_BYTES, program)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
