"""Results to share: without names, and without a word that a student wrote.

What is left is whatever the harness itself says of each check. Names and digests are keyed with a
secret, so that who is not told it can neither undo nor guess them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from grading.results.lines import Result
from harness.course.report import Check
from harness.errors import UserError

SECRET = "pseudonyms.key"
SCHEMA = 1
BYTES = 32


def secret_in(folder: Path) -> bytes:
    """The secret kept beside the results, which is made the first time.

    Raises UserError where it cannot be read, or made.
    """
    path = folder / SECRET
    try:
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path)
        with os.fdopen(file, "w") as new:
            new.write(secrets.token_hex(BYTES) + "\n")
        return _read(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read or written: {error.strerror}.") from None


def _read(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        secret = b""
    if len(secret) != BYTES:
        raise UserError(
            f"{path} is damaged: put back the one that the pseudonyms were made with, or remove it "
            "to have new ones."
        )
    return secret


def pseudonymous(results: Iterable[Result], secret: bytes) -> bytes:
    """A line of JSON for each result, in the order of their pseudonyms, which says nothing."""
    lines = [_line(result, secret) for result in results]
    lines.sort(key=lambda line: str(line["pseudonym"]))
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def pseudonym(kind: str, name: str, secret: bytes) -> str:
    """What stands for a name: the same for the same, and nothing to anybody without the secret."""
    return hmac.new(secret, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:20]


def _line(result: Result, secret: bytes) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "pseudonym": pseudonym("student", result.submission, secret),
        "assignment": result.assignment,
        "status": result.status,
        "score": result.score,
        "max_score": result.max_score,
        "overridden": bool(result.override),
        "attempts": len(result.attempts or ()) or 1,
        "checks": [_check(check) for check in result.checks],
        "flags": [{"kind": flag.kind, "stage": flag.stage} for flag in result.flags],
        "files": pseudonym("files", result.digest, secret) if result.digest else None,
    }


def _check(check: Check) -> dict[str, Any]:
    diagnosis = check.diagnosis
    return {
        "id": check.id,
        "outcome": check.outcome,
        "points": check.points,
        "max_points": check.max_points,
        "waits_for": check.waits_for,
        # The harness's own words and formulas; a student's never get here.
        "mistake": diagnosis.mistake if diagnosis else None,
        "formula": diagnosis.formula if diagnosis else None,
    }
