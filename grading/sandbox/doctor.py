"""What this machine can isolate, found by trying, and what to install for more."""

from __future__ import annotations

from dataclasses import dataclass

from grading.sandbox import LEVELS, LOCKED, Isolation, SpawnerError, can_fork

HOLDS: dict[Isolation, str] = {
    "full": "two walls: bubblewrap around Landlock, seccomp and limits",
    "partial": "one wall: Landlock, seccomp and limits",
    "minimal": "no wall, only limits of time and memory: for code you trust",
}
AS_ROOT = (
    "Students' processes stay root, as no other user can read this Python: put it where any user "
    "can, or grade as an ordinary user."
)
# What a reason given by the system means, and what helps.
_CURES = {
    "namespace": "This system lets no ordinary user make namespaces. In a container, allow user "
    "namespaces; on Ubuntu, give bwrap an AppArmor profile that does.",
    "uid map": "This system lets no ordinary user make namespaces. On Ubuntu, give bwrap an "
    "AppArmor profile that does.",
    "Landlock": "Landlock needs Linux 5.13 or newer with `landlock` among its security modules.",
    "landlockpy": "Install the extra: pip install 'backprop-harness[grading]'.",
    "Function not implemented": "Landlock needs Linux 5.13 or newer.",
    "Operation not supported": "Landlock is switched off: add `landlock` to the kernel's `lsm=`.",
}


@dataclass(frozen=True)
class Finding:
    """Whether a level works on this machine; if not, ``why``, and what may help."""

    level: Isolation
    works: bool
    why: str = ""
    cure: str = ""


def examine() -> list[Finding]:
    """Try every level, best first."""
    return [_tried(level) for level in LEVELS]


def best(findings: list[Finding]) -> Isolation | None:
    """Return the best level that works and is safe for untrusted code."""
    working = [each.level for each in findings if each.works and each.level in LOCKED]
    return working[0] if working else None


def _tried(level: Isolation) -> Finding:
    if not can_fork():
        return Finding(level, level == "minimal", "process isolation is only available on Linux")
    from grading.sandbox.zygote import Zygote

    try:
        with Zygote([level]) as zygote:
            return Finding(level, True, cure=AS_ROOT if zygote.as_root else "")
    except SpawnerError as error:
        why = str(error).removeprefix(f"{level}: ")
        return Finding(level, False, why, _cure(why))


def _cure(why: str) -> str:
    return next((cure for sign, cure in _CURES.items() if sign.lower() in why.lower()), "")
