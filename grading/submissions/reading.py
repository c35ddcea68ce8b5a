"""Finds what students handed in, and reads its bytes. What a folder holds is never guessed.

Nothing is parsed here: that is for the ``parse`` of `read_submission`. Links are not followed, and
a student's mistake is a reason for them to read. What was listed and cannot be read (no permission,
gone, a disk that fails) is no student's mistake: it is raised as OSError, and the mark stays open.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from grading.confined import zips
from grading.confined.source import CODE, FILE_LIMIT, File, Source, Unreadable
from grading.confined.zips import ignored
from harness.course.assignments import NAMES

HANDED_IN = (*CODE, ".zip")
# What one submission may hold: things of any kind, code files and zips, bytes of those; and how
# deep its folders may lie.
SEEN_LIMIT = 100_000
FILES_LIMIT = 1_000
TOTAL_LIMIT = 64 * 1024 * 1024
DEPTH_LIMIT = 32
# What only a student can bring about: a path too long, and a link or a socket in a file's place.
_THEIRS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)


class Entry(msgspec.Struct, frozen=True):
    """Something handed in: a student's name, and the files or folders that stand for it.

    ``undecided`` says why the instructor has to decide what of it counts, if they have to.
    """

    name: str
    paths: tuple[str, ...]
    undecided: str = ""


# Makes code of the files of a submission. Raises Unreadable where there is none.
Parser = Callable[[Sequence[File]], Source]


class Submission(msgspec.Struct, frozen=True):
    """What a student handed in. ``source`` is None, and ``reason`` says why, where none is usable.

    ``undecided``: the instructor has to decide what counts, and the mark is open until then.
    ``digest`` is the sha256 over the sorted relative paths and bytes of the code files and zips,
    and over what kept them from being read.
    """

    name: str
    digest: str
    reason: str = ""
    source: Source | None = None
    undecided: bool = False


def find_submissions(folder: Path) -> list[Entry]:
    """The submissions in a folder, sorted by name: files, zips, or one folder for each student.

    Raises OSError where the folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for each in sorted(entries, key=lambda entry: entry.name):
            name = _student(each)
            if name is not None:
                found.setdefault(shown_name(name), []).append(each.path)
    return [Entry(name, tuple(paths)) for name, paths in sorted(found.items())]


def shown_name(name: str) -> str:
    """A file's name as text that can be written and printed: what is not UTF-8 stands escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def holds_only(entry: Entry) -> frozenset[str]:
    """The assignments whose folders are all there is in a student's folder, as nbgrader has them.

    Empty where there is anything else.
    """
    names: set[str] = set()
    for path in map(Path, entry.paths):
        try:
            if path.is_symlink() or not path.is_dir():
                return frozenset()
            names |= {each.name for each in path.iterdir() if not ignored(each.name)}
        except OSError:
            return frozenset()
    return frozenset(names) if names <= set(NAMES) else frozenset()


def read_submission(entry: Entry, assignment: str, parse: Parser) -> Submission:
    """Return the code of a submission; where there is none to use, the reason.

    ``parse`` reads the files, which can exhaust whatever does so.
    """
    files, reason = read_files(entry, assignment)
    known = digest(files, reason)
    if reason:
        return Submission(entry.name, known, reason, undecided=bool(entry.undecided))
    try:
        return Submission(entry.name, known, source=parse(files))
    except Unreadable as why:
        return Submission(entry.name, known, str(why))


def digest_of(entry: Entry, assignment: str) -> str:
    """The digest that `read_submission` gives, found without unpacking anything."""
    return digest(*read_files(entry, assignment))


def _student(entry: os.DirEntry[str]) -> str | None:
    """The name of the student whom something in the folder stands for; None for other things."""
    if ignored(entry.name):
        return None
    if entry.is_dir(follow_symlinks=False):
        return entry.name
    path = Path(entry.name)
    if path.suffix.lower() in HANDED_IN:
        return path.stem
    # A link to a folder, or to nowhere, was meant for a student's folder.
    link = entry.is_symlink() and not os.path.isfile(entry.path)  # noqa: PTH113 - never raises
    return entry.name if link else None


def read_files(entry: Entry, assignment: str) -> tuple[list[File], str]:
    """Return the code files and zips as they lie there, and what keeps them from being used.

    A file's name is its path inside the submission.
    """
    files: list[File] = []
    try:
        if entry.undecided:
            raise Unreadable(entry.undecided)
        if len(entry.paths) > 1:
            names = " and ".join(shown_name(Path(path).name) for path in entry.paths)
            raise Unreadable(f"{names} both stand for {entry.name}: keep one.")
        path = Path(entry.paths[0])
        if _is_folder(path):
            _collect(path, assignment, files)
        else:
            files.append(File(path.name, plain_bytes(path, path.name)))
    except Unreadable as why:
        return files, str(why)
    return files, ""


def _collect(folder: Path, assignment: str, files: list[File]) -> None:
    """Appends what is in a student's folder; what is appended stays where Unreadable is raised."""
    # nbgrader keeps student/assignment/; a student's other assignments are not this one's.
    inner = folder / assignment
    root, others = (inner, ()) if _is_there(inner) else (folder, set(NAMES) - {assignment})
    if not _is_folder(root):
        raise Unreadable(f"{root.name} is not a folder.")
    notes: list[str] = []
    total = 0
    for name in sorted(_code_in(root, frozenset(others), notes)):
        try:
            data = plain_bytes(root / name, name)
        except _NotPlain as why:
            notes.append(str(why))
            continue
        total += len(data)
        if total > TOTAL_LIMIT or len(files) == FILES_LIMIT:
            raise Unreadable("The folder holds far more code than one file.")
        files.append(File(name, data))
    if not files:
        raise zips.nothing(notes)


def _code_in(root: Path, others: frozenset[str], notes: list[str]) -> Iterator[str]:
    """The relative paths of all that has the name of a code file or zip, in no order.

    ``others`` are folders to leave alone at the top. ``notes`` gets what else is worth telling.
    """
    for path, entry in _walk(root, others, notes):
        if path.suffix.lower() in HANDED_IN:
            yield str(path)
        elif entry.is_symlink():
            notes.append(_link(str(path)))


def _walk(
    root: Path, others: frozenset[str], notes: list[str]
) -> Iterator[tuple[PurePosixPath, os.DirEntry[str]]]:
    folders = [PurePosixPath()]
    seen = 0
    while folders:
        folder = folders.pop()
        with (
            _theirs(str(folder) if folder.parts else root.name),
            os.scandir(root / folder) as entries,
        ):
            for each in entries:
                seen += 1
                if seen > SEEN_LIMIT:
                    raise Unreadable(f"The folder holds more than {SEEN_LIMIT} files.")
                path = folder / each.name
                if ignored(each.name):
                    continue
                elif not each.is_dir(follow_symlinks=False):
                    yield path, each
                elif str(path) in others:
                    notes.append(f"Only {path} was handed in.")
                elif len(path.parts) > DEPTH_LIMIT:
                    raise Unreadable(f"The folders lie more than {DEPTH_LIMIT} deep.")
                else:
                    folders.append(path)


class _NotPlain(Unreadable):
    """It is no file to open: a link, a pipe, a device."""


def _odd(path: Path, name: str) -> _NotPlain:
    link = _link(name) if path.is_symlink() else ""
    return _NotPlain(link or f"{_short(name)} is not a plain file.")


def plain_bytes(path: Path, name: str) -> bytes:
    """The bytes of a plain file. Raises Unreadable for anything else, and never waits for it."""
    with _theirs(name):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _odd(path, name)
        # It may be another thing by now: a link is refused, a pipe opens without a writer.
        with os.fdopen(_opened(path), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _NotPlain(f"{_short(name)} is not a plain file.")
            data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise Unreadable(f"{_short(name)} is larger than {FILE_LIMIT // 2**20} MiB.")
    return data


def _opened(path: Path) -> int:
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    return os.open(path, flags)


def _is_folder(path: Path) -> bool:
    """Whether it is a folder. Raises Unreadable for a link, which is not followed."""
    with _theirs(path.name):
        mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise Unreadable(_link(path.name))
    return stat.S_ISDIR(mode)


def _is_there(path: Path) -> bool:
    with _theirs(path.name):
        try:
            path.lstat()
        except FileNotFoundError:
            return False
        return True


@contextmanager
def _theirs(name: str) -> Iterator[None]:
    """Turns what is the matter with a student's file, and not with this machine, into a reason."""
    try:
        yield
    except OSError as error:
        if error.errno not in _THEIRS:
            raise
        raise Unreadable(f"{_short(name)} cannot be read: {error.strerror}.") from None


def _link(name: str) -> str:
    return f"{_short(name)} is a link, which is not followed."


def _short(name: str) -> str:
    """A path's last name, of a bearable length."""
    return zips.short(shown_name(PurePosixPath(name).name))


def digest(files: Sequence[File], reason: str) -> str:
    """Return the digest of a submission that `read_files` has given."""
    total = hashlib.sha256()
    for file in files:
        encoded = file.name.encode("utf-8", "surrogateescape")
        for part in (encoded, file.data):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    total.update(reason.encode())
    return total.hexdigest()
