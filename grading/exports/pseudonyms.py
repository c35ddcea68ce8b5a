"""Results to share: without names, and without a word that a student wrote.

What remains is what the harness itself says of the checks. Names and digests are keyed with a
secret, without which nobody can reverse or guess them.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from grading.results.lines import Result
from harness.course.report import Check
from harness.errors import UserError

SECRET = "pseudonyms.key"
SCHEMA = 1
BYTES = 32
KEPT = ("id", "outcome", "points", "max_points", "waits_for")
DIAGNOSED = ("mistake", "formula")


def secret_in(folder: Path) -> bytes:
    """Return the secret kept beside the results, which is drawn the first time.

    Raise UserError if it is damaged, and OSError if it cannot be read or written.
    """
    path = folder / SECRET
    with suppress(FileExistsError), open(path, "x", opener=partial(os.open, mode=0o600)) as new:
        new.write(secrets.token_hex(BYTES) + "\n")
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        secret = b""
    if len(secret) != BYTES:
        raise UserError(
            f"{path} is damaged: restore it from a backup, or delete it to get new pseudonyms."
        )
    return secret


def pseudonymous(results: Sequence[Result], secret: bytes) -> Iterator[bytes]:
    """Yield a line of JSON for each result, ordered by pseudonym."""
    names = [pseudonym("student", result.submission, secret) for result in results]
    for at in sorted(range(len(names)), key=names.__getitem__):
        yield msgspec.json.encode(_line(results[at], names[at], secret)) + b"\n"


def pseudonym(kind: str, name: str, secret: bytes) -> str:
    """Return what replaces a name: always the same, and meaningless without the secret."""
    return hmac.new(secret, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:20]


def _line(result: Result, name: str, secret: bytes) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "pseudonym": name,
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
    kept = {name: getattr(check, name) for name in KEPT}
    # The harness's own words and formulas; a student's never get here.
    return kept | {name: getattr(check.diagnosis, name, None) for name in DIAGNOSED}
