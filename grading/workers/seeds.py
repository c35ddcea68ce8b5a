"""Seeds that no student can know: drawn at random, and kept in a file for later runs."""

import hmac
import os
import re
import secrets
import sys
from pathlib import Path

from harness.errors import UserError

if sys.platform != "win32":
    import fcntl

BITS = 53
# Every number up to here is exact in JSON, for readers that have only doubles.
LARGEST = 2**BITS - 1
_LINE = re.compile(rb"(\d{1,16})\n")


def draw_seed() -> int:
    """Return a new random seed."""
    return secrets.randbits(BITS)


def keyed_seed(secret: bytes, text: str) -> int:
    """Return a seed that depends on the text, and that nobody without the secret can compute."""
    return int.from_bytes(hmac.digest(secret, text.encode(), "sha256")[:8], "big") >> (64 - BITS)


def kept_seed(path: Path, wanted: int | None = None) -> int:
    """Return the seed kept in the file at ``path``: the first time, a new one or that ``wanted``.

    A ``wanted`` seed replaces another one. The seed is on disk when this returns, and processes
    that ask at the same moment get the same. Raise UserError for a damaged file, and OSError
    where it cannot be read or written.
    """
    seed = _read(path) if path.exists() else None
    if seed is not None and wanted in (None, seed):
        return seed
    with open(path, "r+b", opener=_made_private) as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        seed = _read(path)
        if seed is not None and wanted in (None, seed):
            return seed
        seed = draw_seed() if wanted is None else wanted
        # Always as long, and written at once: a kill leaves the old seed or the new one.
        file.write(b"%016d\n" % seed)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)
    return seed


def _made_private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT, 0o600)


def _read(path: Path) -> int | None:
    """Return the seed in a file; None if its writer was killed before it wrote."""
    if not (data := path.read_bytes()):
        return None
    found = _LINE.fullmatch(data)
    if not found or int(found[1]) > LARGEST:
        raise UserError(
            f"{path} is damaged: it must hold one whole number from 0 to {LARGEST}. Restore it "
            "from a backup, or delete it to draw a new seed and grade everything again."
        )
    return int(found[1])


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
