"""Finds the one code file among those handed in, and in zips, which cannot be trusted.

Names are only names, and one file at most comes out.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from grading.confined.source import (
    CODE,
    FILE_LIMIT,
    HANDED_OUT,
    File,
    Source,
    Unreadable,
    read_source,
)

MEMBER_LIMIT = 10_000
NAME_LIMIT = 100
# Of how many files the beginning is read to see whether they are a student's.
MOST_READ = 20
_HEAD = b"PK\x01\x02"  # begins the description of each member
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Contents:
    """The code files in a zip, by their full names, and a sentence on each file ignored."""

    code: tuple[str, ...]
    notes: tuple[str, ...]


def source_of(files: Sequence[File]) -> Source:
    """Return the code in the one code file. Raise Unreadable if there is none to use."""
    file = only_file(files)
    return read_source(file.name, file.data)


def only_file(files: Sequence[File]) -> File:
    """Return the one code file, out of its zip. Raise Unreadable if there is none, or more."""
    found: list[tuple[str, File]] = []
    notes: list[str] = []
    for file in files:
        if not file.name.lower().endswith(".zip"):
            found.append((file.name, file))
            continue
        inside = contents(_last(file.name), file.data)
        found += [(name, file) for name in inside.code]
        notes += inside.notes
    if not found:
        raise nothing(notes)
    if 1 < len(found) <= MOST_READ:
        # The module that is handed out beside a notebook comes back with it.
        found = [each for each in found if not _is_handed_out(*each)] or found
    if len(found) > 1:
        names = ", ".join(_last(name) for name, _ in found[:5])
        raise Unreadable(f"There are {len(found)} files where one is expected: {names}.")
    return _file(*found[0])


def _file(name: str, file: File) -> File:
    """Return the code file called ``name``, which is ``file`` or in that zip."""
    if file.name.lower().endswith(".zip"):
        return File(_last(name), unpacked(_last(file.name), file.data, name))
    return File(_last(name), file.data)


def _is_handed_out(name: str, file: File) -> bool:
    return name.lower().endswith(".py") and _file(name, file).data.startswith(HANDED_OUT.encode())


def nothing(notes: Sequence[str]) -> Unreadable:
    """Return what to raise where there is no code file; ``notes`` tell of other things there."""
    return Unreadable(" ".join(["There is no .py or .ipynb file.", *sorted(notes)[:3]]))


def contents(name: str, data: bytes) -> Contents:
    """Return what the zip called ``name`` holds.

    Raise Unreadable if it is not a zip, is damaged, or holds too much.
    """
    # Each member begins like this, and zipfile would list all of them, in hundreds of megabytes.
    if data.count(_HEAD) > MEMBER_LIMIT:
        raise Unreadable(f"The zip {name} holds more than {MEMBER_LIMIT} files.")
    found: list[str] = []
    notes: list[str] = []
    for member in _members(name, data):
        path = _path(member)
        ending = path.suffix.lower()
        parts = [part for part in path.parts if part != ".."]
        if member.is_dir() or any(map(ignored, parts)) or ending not in (*CODE, ".zip"):
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            notes.append(f"{short(path.name)} in {name} is a link, which is not followed.")
        elif ending == ".zip":
            notes.append(f"{short(path.name)} in {name} is a zip too, which is not unpacked.")
        else:
            found.append(str(path))
    for one, other in pairwise(sorted(found)):
        if one == other:
            raise Unreadable(f"The zip {name} holds {short(PurePosixPath(one).name)} twice.")
    return Contents(tuple(sorted(found)), tuple(notes))


def unpacked(name: str, data: bytes, wanted: str) -> bytes:
    """Return the bytes of a code file that `contents` has named. Raise Unreadable if it cannot."""
    member = next(each for each in _members(name, data) if str(_path(each)) == wanted)
    its = short(_path(member).name)
    if member.flag_bits & _ENCRYPTED:
        raise Unreadable(f"{its} in {name} is locked with a password: zip it without one.")
    if member.compress_type not in _METHODS:
        raise Unreadable(f"{its} in {name} is packed in an unusual way: zip it the usual way.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(member) as stream:
            inside = stream.read(FILE_LIMIT + 1)
    except _DAMAGED as error:
        raise _damaged(name, error) from None
    if len(inside) > FILE_LIMIT:
        raise Unreadable(f"{its} is larger than {FILE_LIMIT // 2**20} MiB.")
    return inside


def ignored(name: str) -> bool:
    """Return whether systems or editors leave files of this name behind."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def short(name: str) -> str:
    """Return a name, its beginning cut off if it is long."""
    return name if len(name) <= NAME_LIMIT else f"…{name[1 - NAME_LIMIT :]}"


def _last(path: str) -> str:
    """Return a path's last name, cut if it is long, as text that can be encoded."""
    return short(PurePosixPath(path).name.encode("utf-8", "backslashreplace").decode("utf-8"))


def _members(name: str, data: bytes) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist()
    except UnicodeDecodeError:
        raise Unreadable(f"The zip {name} holds a name that is not UTF-8: zip it again.") from None
    except _DAMAGED as error:
        raise _damaged(name, error) from None


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    # Some programs on Windows write their own separator.
    return PurePosixPath(member.filename.replace("\\", "/"))


def _damaged(name: str, error: Exception) -> Unreadable:
    return Unreadable(f"The zip {name} cannot be unpacked: {str(error)[:200]}.")
