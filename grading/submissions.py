"""Finds and reads what students handed in. What a folder holds is never guessed."""

from __future__ import annotations

import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from grading.source import FILE_LIMIT, Source, Unreadable, read_source

CODE = (".py", ".ipynb")
ENTRY_LIMIT = 2_000


class Entry(msgspec.Struct, frozen=True):
    """Something handed in: a student's name, and the files or folders that stand for it."""

    name: str
    paths: tuple[str, ...]


class Submission(msgspec.Struct, frozen=True):
    """What a student handed in. ``source`` is None, and ``reason`` says why, without usable code.

    ``digest`` is the sha256 over the sorted relative paths and bytes.
    """

    name: str
    digest: str
    source: Source | None = None
    reason: str = ""


def find_submissions(folder: Path) -> list[Entry]:
    """The submissions in a folder, sorted by name: files, zips, or one folder for each student."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        if _ignored(path.name):
            continue
        if path.is_dir() or path.suffix.lower() in (*CODE, ".zip"):
            name = shown_name(path.name if path.is_dir() else path.stem)
            found.setdefault(name, []).append(str(path))
    return [Entry(name, tuple(paths)) for name, paths in sorted(found.items())]


def shown_name(name: str) -> str:
    """A file's name as text that can be written and printed: what is not UTF-8 stands escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_submission(entry: Entry, assignment: str) -> Submission:
    """The code of a submission; where there is none to use, the reason."""
    if len(entry.paths) > 1:
        names = " and ".join(Path(path).name for path in entry.paths)
        return Submission(
            entry.name, _digest([]), reason=f"{names} both stand for {entry.name}: keep one."
        )
    path = Path(entry.paths[0])
    files: list[tuple[str, bytes]] = []
    try:
        files = list(_files(path, assignment))
        source = _only_source(files)
    except Unreadable as reason:
        return Submission(entry.name, _digest(files), reason=str(reason))
    return Submission(entry.name, _digest(files), source)


def _files(path: Path, assignment: str) -> Iterator[tuple[str, bytes]]:
    """The relative paths and bytes of a submission's code and zips, zips unpacked."""
    if not path.is_dir():
        yield from _unpacked(path.name, path)
        return
    # nbgrader keeps student/assignment/; a student's other assignments are not this one's.
    inner = path / assignment
    root = inner if inner.is_dir() and not inner.is_symlink() else path
    for count, each in enumerate(_walk(root)):
        if count >= ENTRY_LIMIT:
            raise Unreadable(f"The folder holds more than {ENTRY_LIMIT} files.")
        yield from _unpacked(each.relative_to(root).as_posix(), each)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if _ignored(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file() and path.suffix.lower() in (*CODE, ".zip"):
            yield path


def _unpacked(name: str, path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_symlink() or not path.is_file():
        raise Unreadable(f"{name} is not a plain file.")
    if path.stat().st_size > FILE_LIMIT:
        raise Unreadable(f"{name} is larger than {FILE_LIMIT // 2**20} MiB.")
    data = path.read_bytes()
    if path.suffix.lower() != ".zip":
        yield name, data
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from _members(archive)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise Unreadable(f"The zip {name} cannot be unpacked: {error}.") from None


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    if len(archive.infolist()) > ENTRY_LIMIT:
        raise Unreadable(f"The zip holds more than {ENTRY_LIMIT} files.")
    for member in sorted(archive.infolist(), key=lambda each: each.filename):
        inside = PurePosixPath(member.filename)
        if member.is_dir() or any(_ignored(part) for part in inside.parts):
            continue
        if inside.suffix.lower() in CODE:
            with archive.open(member) as stream:
                data = stream.read(FILE_LIMIT + 1)
            if len(data) > FILE_LIMIT:
                raise Unreadable(f"{inside.name} is larger than {FILE_LIMIT // 2**20} MiB.")
            yield str(inside), data


def _only_source(files: list[tuple[str, bytes]]) -> Source:
    if not files:
        raise Unreadable("There is no .py or .ipynb file.")
    if len(files) > 1:
        names = ", ".join(shown_name(name) for name, _ in files[:5])
        raise Unreadable(f"There are {len(files)} files where one is expected: {names}.")
    name, data = files[0]
    return read_source(shown_name(PurePosixPath(name).name), data)


def _digest(files: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, data in sorted(files):
        encoded = name.encode("utf-8", "surrogateescape")
        total.update(len(encoded).to_bytes(8, "big") + encoded)
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")
