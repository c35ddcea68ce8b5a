"""Which system calls a student's process may make: an allowlist that the kernel enforces."""

import errno
import os
import tomllib
from pathlib import Path

from grading.confined.spawner import SpawnerError


def compile_filter() -> bytes:
    """Return the allowlist, seccomp.toml, as a program for the kernel: other calls fail with EPERM.

    Raise SpawnerError if the libraries for it are missing.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError) as error:
        raise SpawnerError(
            f"seccomp filters cannot be made ({error}): install the extra 'grading' and, on "
            "Debian or Ubuntu, libseccomp2"
        ) from None
    allowed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    native = pyseccomp.system_arch()
    for name in allowed["always"]:
        if pyseccomp.resolve_syscall(native, name) >= 0:
            made.add_rule(pyseccomp.ALLOW, name)
    for call in allowed["only"]:
        for value in call["values"]:
            where = pyseccomp.Arg(call["argument"], pyseccomp.EQ, value)
            made.add_rule(pyseccomp.ALLOW, call["name"], where)
    own_limits = (pyseccomp.Arg(0, pyseccomp.EQ, 0), pyseccomp.Arg(2, pyseccomp.EQ, 0))
    made.add_rule(pyseccomp.ALLOW, "prlimit64", *own_limits)
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()
