"""A download as a folder: it is one, or a zip whose files are put into one."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from grading.errors import refusals
from grading.parsing.source import FILE_LIMIT
from grading.parsing.zips import DAMAGED, ignored
from harness.drawing.visible import visible_line
from harness.errors import UserError

# The most files of a download that are looked at, and the bytes that a file's name can have.
FILES, NAME_BYTES = 1_000_000, 255
UTF_8 = 0x800  # the flag of a name that is written in it


@contextmanager
def opened(path: Path, within: Path | None = None) -> Iterator[tuple[Path, bool]]:
    """Yield the folder that holds a download, and whether it was a zip.

    A zip's files are in a temporary folder, ``within`` another, until the block ends. Raise
    UserError if the zip cannot be read.
    """
    if not os.path.isfile(path) or not zipfile.is_zipfile(path):  # noqa: PTH113 - never raises
        yield path, False
        return
    with tempfile.TemporaryDirectory(prefix="download-", dir=within) as folder:
        _unpack(path, Path(folder))
        yield Path(folder), True


def _unpack(path: Path, folder: Path) -> None:
    """Write the files of a zip. Of one that is too long to grade, only so much that this shows."""
    taken: set[str] = set()
    with refusals(path):
        try:
            with zipfile.ZipFile(path) as archive:
                members = [each for each in archive.infolist() if not _is_left_out(each)]
                if len(members) > FILES:
                    raise UserError(f"{path} holds more than {FILES} files: unpack it in parts.")
                for member in members:
                    target = folder / _free(_parts(member), taken)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as stream:
                        target.write_bytes(stream.read(FILE_LIMIT + 1))
        except OSError:
            raise
        except DAMAGED as error:
            said = visible_line(str(error)[:200])
            raise UserError(f"{path} cannot be unpacked ({said}): download it again.") from None


def _is_left_out(member: zipfile.ZipInfo) -> bool:
    parts = _parts(member)
    link = stat.S_ISLNK(member.external_attr >> 16)
    # Without a name, is_dir would raise.
    return not parts or link or member.is_dir() or any(map(ignored, parts))


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the path in a zip, which stays in it whatever it is.

    macOS writes UTF-8 and does not say so.
    """
    name = member.filename
    if not member.flag_bits & UTF_8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return tuple(_short(part) for part in parts if part.strip("/") and part not in (".", ".."))


def _short(part: str) -> str:
    """Return a name that a file can have."""
    if len(part.encode("utf-8", "replace")) <= NAME_BYTES:
        return part
    mark = hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{part[:40]}~{mark}{PurePosixPath(part[-20:]).suffix}"


def _free(parts: tuple[str, ...], taken: set[str]) -> str:
    """Return a path that is neither another file's nor a folder with files, whatever the case."""
    *folders, name = parts
    at = ""
    for folder in folders:
        at = f"{at}{folder}" if f"{at}{folder}".casefold() not in taken else f"{at}{folder}~"
        at += "/"
        taken.add(at.casefold())
    path = at + name
    while {path.casefold(), f"{path}/".casefold()} & taken:
        stem = PurePosixPath(path)
        path = f"{at}{stem.stem}~{stem.suffix}"
    taken.add(path.casefold())
    return path
