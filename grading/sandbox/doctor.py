"""What this machine can isolate, found by trying, and what to install for more."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from grading.sandbox import LEVELS, LOCKED, Isolation, SpawnerError, can_fork

_TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
HOLDS: dict[Isolation, str] = _TEXTS["holds"]


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
            return Finding(level, True, cure=_TEXTS["as_root"] if zygote.as_root else "")
    except SpawnerError as error:
        why = str(error).removeprefix(f"{level}: ")
        cures = (cure for sign, cure in _TEXTS["cures"].items() if sign.lower() in why.lower())
        return Finding(level, False, why, next(cures, ""))
