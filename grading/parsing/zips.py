"""Lists the code files in zips, which cannot be trusted, and unpacks them one by one.

Names are only names.
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

from grading.parsing.source import FILE_LIMIT, Unreadable, form_of

MEMBER_LIMIT = 10_000
NAME_LIMIT = 100
_HEAD = b"PK\x01\x02"  # begins the description of each member
_ENCRYPTED = 0x1
_LEFT_BEHIND = (
    *("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"),
    *("site-packages", "dist-packages", "node_modules"),
)
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".tar", ".rar", ".7z")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGED = (
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


def nothing(notes: Sequence[str]) -> Unreadable:
    """Return what to raise where there is no code file; ``notes`` tell of other things there."""
    return Unreadable(" ".join(["There is no .py or .ipynb file.", *sorted(notes)[:3]]))


def not_code(name: str) -> str:
    """Return why a file of another kind cannot be graded, by its name."""
    its, form = last_name(name), PurePosixPath(name).suffix.lower()
    if form in _PACKED:
        return f"{its} is an archive that is not unpacked: hand in a zip, or the file itself."
    if not form:
        return f"{its} has no ending: the name of a module ends in .py, of a notebook in .ipynb."
    return f"{its} is not a .py file or a notebook (.ipynb)."


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
        form = form_of(path.name)
        parts = [part for part in path.parts if part != ".."]
        if member.is_dir() or any(map(ignored, parts)):
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            notes.append(f"{short(path.name)} in {name} is a link, which is not followed.")
        elif form == ".zip":
            notes.append(f"{last_name(path.name)} in {name} is a zip too, which is not unpacked.")
        elif not form:
            notes.append(not_code(path.name))
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
    except DAMAGED as error:
        raise _damaged(name, error) from None
    if len(inside) > FILE_LIMIT:
        raise Unreadable(f"{its} is larger than {FILE_LIMIT // 2**20} MiB.")
    return inside


def ignored(name: str) -> bool:
    """Return whether systems, editors or installers leave files of this name behind."""
    return name.startswith((".", "~$")) or name in _LEFT_BEHIND


def short(name: str) -> str:
    """Return a name, its beginning cut off if it is long."""
    return name if len(name) <= NAME_LIMIT else f"…{name[1 - NAME_LIMIT :]}"


def shown_name(name: str) -> str:
    """Return a file's name as text that can be encoded: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def last_name(path: str) -> str:
    """Return a path's last name, cut if it is long, as text that can be encoded."""
    return short(shown_name(PurePosixPath(path).name))


def _members(name: str, data: bytes) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist()
    except UnicodeDecodeError:
        raise Unreadable(f"The zip {name} holds a name that is not UTF-8: zip it again.") from None
    except DAMAGED as error:
        raise _damaged(name, error) from None


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    # Some programs on Windows write their own separator.
    return PurePosixPath(member.filename.replace("\\", "/"))


def _damaged(name: str, error: Exception) -> Unreadable:
    return Unreadable(f"The zip {name} cannot be unpacked: {str(error)[:200]}.")
