"""Lists the code files in zips, which cannot be trusted, and unpacks them one by one.

Names are only names.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from grading.parsing.source import FILE_LIMIT, Unreadable, form_of

MEMBER_LIMIT = 10_000
NAME_LIMIT = 100
_HEAD = b"PK\x01\x02"  # begins the description of each member
_ENCRYPTED = 0x1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
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
    """What a zip holds: its code files by their full names, and a sentence on each file ignored."""

    notes: tuple[str, ...]
    _name: str
    _archive: zipfile.ZipFile
    _code: dict[str, zipfile.ZipInfo]

    @property
    def code(self) -> tuple[str, ...]:
        """The full names of the code files, sorted."""
        return tuple(sorted(self._code))

    def unpacked(self, wanted: str) -> bytes:
        """Return the bytes of a code file. Raise Unreadable if it cannot be unpacked."""
        member, name = self._code[wanted], self._name
        its = last_name(wanted)
        if member.flag_bits & _ENCRYPTED:
            raise Unreadable(f"{its} in {name} is locked with a password: zip it without one.")
        if member.compress_type not in _METHODS:
            raise Unreadable(f"{its} in {name} is packed in an unusual way: zip it the usual way.")
        try:
            with self._archive.open(member) as stream:
                inside = stream.read(FILE_LIMIT + 1)
        except DAMAGED as error:
            raise _damaged(name, error) from None
        if len(inside) > FILE_LIMIT:
            raise Unreadable(f"{its} is larger than {FILE_LIMIT // 2**20} MiB.")
        return inside


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
    archive = _opened(name, data)
    found: dict[str, zipfile.ZipInfo] = {}
    notes: list[str] = []
    for member in archive.infolist():
        path = _path(member)
        form = form_of(path.name)
        parts = [part for part in path.parts if part != ".."]
        # Without a name, is_dir would raise.
        if not path.parts or member.is_dir() or any(map(ignored, parts)):
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            notes.append(f"{last_name(path.name)} in {name} is a link, which is not followed.")
        elif form == ".zip":
            notes.append(f"{last_name(path.name)} in {name} is a zip too, which is not unpacked.")
        elif not form:
            notes.append(not_code(path.name))
        elif str(path) in found:
            raise Unreadable(f"The zip {name} holds {last_name(path.name)} twice.")
        else:
            found[str(path)] = member
    return Contents(tuple(notes), name, archive, found)


def ignored(name: str) -> bool:
    """Return whether systems, editors or installers leave files of this name behind."""
    return name.startswith((".", "~$")) or name in _LEFT_BEHIND


def shown_name(name: str) -> str:
    """Return a file's name as text that can be encoded: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def short_path(path: str) -> str:
    """Return a path as people read and name it: on one line, its beginning cut off if it is long.

    Control characters are escaped, as Python escapes them.
    """
    plain = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], shown_name(path))
    return plain if len(plain) <= NAME_LIMIT else f"…{plain[1 - NAME_LIMIT :]}"


def last_name(path: str) -> str:
    """Return a path's last name as people read and name it."""
    return short_path(PurePosixPath(path).name)


def _opened(name: str, data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except UnicodeDecodeError:
        raise Unreadable(f"The zip {name} holds a name that is not UTF-8: zip it again.") from None
    except DAMAGED as error:
        raise _damaged(name, error) from None


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    # Some programs on Windows write their own separator.
    return PurePosixPath(member.filename.replace("\\", "/"))


def _damaged(name: str, error: Exception) -> Unreadable:
    return Unreadable(f"The zip {name} cannot be unpacked: {str(error)[:200]}.")
