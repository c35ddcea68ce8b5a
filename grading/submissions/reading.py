"""Find what students submitted and read its bytes. What a folder holds is never guessed.

Nothing is parsed here: that is for the ``parse`` of `read_submission`. Links are not followed. A
student's mistake becomes a reason that they can read. A file that was listed and cannot be read (no
permission, gone, a failing disk) is not a student's mistake: it raises OSError, and the mark stays
open.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec

from grading.parsing import zips
from grading.parsing.choosing import TOTAL_LIMIT, Ambiguous, Sought
from grading.parsing.source import FILE_LIMIT, File, Source, Unreadable, form_of, stem_of
from grading.parsing.zips import ignored, last_name, not_code, shown_name
from harness.course.assignments import SOURCE, assignment_names, current_course, module_of
from harness.errors import UserError

# What instructors keep beside submissions, and what platforms explain theirs with.
_NO_SUBMISSION = re.compile(
    r"(?:readme|license)(?:\.(?:md|rst|txt|html?|pdf))?|.*\.csv", re.IGNORECASE
)
# The most that one submission may hold: files of any kind, code files and zips, levels of folders.
SEEN_LIMIT = 100_000
FILES_LIMIT = 1_000
DEPTH_LIMIT = 32
# Of more attempts by one student, the instructor decides which are graded.
ATTEMPTS_LIMIT = 20
# What only a student can cause: a path that is too long, a link or a socket instead of a file.
_THEIRS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)
# Not all systems have all of these.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))


class Entry(msgspec.Struct, frozen=True):
    """A student's name, and the files or folders that they submitted.

    ``undecided`` says why the instructor has to decide what counts, if they have to. ``file`` is
    the path or the name of the one that counts of several, if they have decided. In a download that
    calls files otherwise, ``names`` are those that the student's files had; ``students`` are the
    people on the roster; ``time``, if it is known, is when it was handed in (ISO 8601), ``late``
    what the platform says of that, and ``extension`` until when they had time. Of several
    ``attempts`` the last is the one that is read by itself.
    """

    name: str
    paths: tuple[str, ...]
    undecided: str = ""
    file: str = ""
    names: tuple[str, ...] = ()
    students: tuple[str, ...] = ()
    time: str = ""
    late: bool = False
    extension: str = ""
    attempts: tuple["Entry", ...] = ()


# The code files and zips of a submission, and the reason why they cannot be used, if there is one.
Handed = tuple[Sequence[File], str]
# Reads the code in the files of a submission. Raises Unreadable where there is none.
Parser = Callable[[Sequence[File], Sought], Source]


class Submission(msgspec.Struct, frozen=True):
    """A student's code: ``source`` is None, and ``reason`` says why, where there is none to use.

    ``undecided``: the instructor has to decide what counts, and the mark is open until then.
    ``digest`` is the sha256 over the sorted relative paths and bytes of the code files and zips,
    and over the reason why they could not be read.
    """

    name: str
    digest: str
    reason: str = ""
    source: Source | None = None
    undecided: bool = False


def require_no_course(folder: Path) -> None:
    """Raise UserError if the course lies in a folder of submissions.

    Code that was handed in must not be taken for the course's.
    """
    course = current_course()
    if course and course.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{course / SOURCE}, the course's folder, lies in {folder}, the folder of submissions: "
            "work elsewhere, or name the course's folder with --course."
        )


def find_submissions(folder: Path) -> list[Entry]:
    """Return the submissions in a folder, by name: files, zips, or a folder for each student.

    Files of other kinds are submissions too, which cannot be read, unless there is nothing else.
    Raise OSError if the folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    usable = False
    with os.scandir(folder) as entries:
        for each in sorted(entries, key=lambda entry: entry.name):
            if not ignored(each.name) and not _NO_SUBMISSION.fullmatch(each.name):
                found.setdefault(shown_name(_student(each)), []).append(each.path)
                usable |= bool(form_of(each.name)) or not each.is_file(follow_symlinks=False)
    return [Entry(name, tuple(paths)) for name, paths in sorted(found.items()) if usable]


def too_many(attempts: int) -> str:
    """Return why the instructor has to decide about so many attempts; "" if they are graded."""
    if attempts <= ATTEMPTS_LIMIT:
        return ""
    return (
        f"There are {attempts} attempts and at most {ATTEMPTS_LIMIT} are graded: keep those that "
        "count."
    )


def holds_only(entry: Entry) -> frozenset[str]:
    """Return the assignments whose folders a student's folder holds, as nbgrader has them.

    Empty where it holds anything else.
    """
    names: set[str] = set()
    for path in map(Path, entry.paths):
        try:
            if path.is_symlink() or not path.is_dir():
                return frozenset()
            names |= {each.name for each in path.iterdir() if not ignored(each.name)}
        except OSError:
            return frozenset()
    return frozenset(names) if names <= set(assignment_names()) else frozenset()


def read_submission(
    entry: Entry, assignment: str, parse: Parser, handed: Handed | None = None
) -> Submission:
    """Return the code of a submission, or the reason why there is none to use.

    ``parse`` reads the files, which can exhaust the process that does it: those that `read_files`
    returned, where they are ``handed`` over.
    """
    files, reason = handed or read_files(entry, assignment)
    known = digest(files, reason)
    if reason:
        # Where there is something, what stands in its way costs no marks unseen.
        return Submission(entry.name, known, reason, undecided=bool(entry.undecided or files))
    try:
        return Submission(entry.name, known, source=parse(files, sought(assignment, entry.file)))
    except Unreadable as why:
        return Submission(entry.name, known, str(why), undecided=isinstance(why, Ambiguous))


def sought(assignment: str, file: str = "") -> Sought:
    """Return what a submission is read for; ``file`` is the one that a person has chosen."""
    names = filter(None, (*assignment_names(), assignment))
    modules = {name: module_of(name) for name in names}
    return Sought(assignment, modules, file)


def digest_of(entry: Entry, assignment: str) -> str:
    """Return the digest that `read_submission` gives, without unpacking anything."""
    return digest(*read_files(entry, assignment))


def _student(entry: os.DirEntry[str]) -> str:
    """Return the name of the student that an entry of the folder belongs to."""
    if entry.is_dir(follow_symlinks=False):
        return entry.name
    # A link to a folder, or to nowhere, was meant to be a student's folder.
    is_file = form_of(entry.name) or os.path.isfile(entry.path)  # noqa: PTH113 - never raises
    return stem_of(entry.name) if is_file else entry.name


def read_files(entry: Entry, assignment: str) -> tuple[list[File], str]:
    """Return the code files and zips, and the reason why they cannot be used, if there is one.

    A file's name is its path inside the submission.
    """
    files: list[File] = []
    try:
        if entry.undecided:
            raise Unreadable(entry.undecided)
        notes: list[str] = []
        for name, named in sorted(zip(entry.names, entry.paths, strict=False)):
            _add(Path(named), name, files, notes)
        for path in () if entry.names else map(Path, entry.paths):
            if _is_folder(path):
                _collect(path, assignment, files, notes, within=len(entry.paths) > 1)
            elif form_of(path.name):
                files.append(File(path.name, plain_bytes(path, path.name)))
            else:
                notes.append(not_code(path.name))
        if not files:
            raise zips.nothing(notes)
    except Unreadable as why:
        return files, str(why)
    return files, ""


def _add(path: Path, name: str, files: list[File], notes: list[str]) -> None:
    """Append a file under a name, or a note on why it is not read."""
    if not form_of(name):
        notes.append(not_code(name))
        return
    try:
        data = plain_bytes(path, name)
    except Unreadable as why:
        if form_of(name) != ".zip" and not isinstance(why, _NotPlain):
            raise
        notes.append(str(why))
        return
    if sum(len(file.data) for file in files) + len(data) > TOTAL_LIMIT or len(files) == FILES_LIMIT:
        raise Unreadable("There is far more code than one file.")
    files.append(File(name, data))


def _collect(
    folder: Path, assignment: str, files: list[File], notes: list[str], *, within: bool
) -> None:
    """Append what is in a student's folder, and notes on the rest of it.

    What is appended stays where Unreadable is raised. Names begin with the folder's ``within``
    others.
    """
    # nbgrader keeps student/assignment/; a student's other assignments are not this one's.
    inner = folder / assignment
    root, others = (
        (inner, set()) if _is_there(inner) else (folder, set(assignment_names()) - {assignment})
    )
    if not _is_folder(root):
        raise Unreadable(f"{root.name} is not a folder.")
    for name in sorted(_code_in(root, others, notes)):
        _add(root / name, f"{folder.name}/{name}" if within else name, files, notes)


def _code_in(root: Path, others: Collection[str], notes: list[str]) -> Iterator[str]:
    """Yield the relative paths of all files that are named like code or a zip, in no order.

    ``others`` are folders to skip at the top. ``notes`` gets what else a student should know.
    """
    folders = [PurePosixPath()]
    seen = 0
    while folders:
        folder = folders.pop()
        name = str(folder) if folder.parts else root.name
        with _theirs(name), os.scandir(root / folder) as entries:
            for each in entries:
                seen += 1
                if seen > SEEN_LIMIT:
                    raise Unreadable(f"The folder holds more than {SEEN_LIMIT} files.")
                path = folder / each.name
                if ignored(each.name):
                    continue
                elif not each.is_dir(follow_symlinks=False):
                    if form_of(each.name):
                        yield str(path)
                    else:
                        notes.append(_link(str(path)) if each.is_symlink() else not_code(each.name))
                elif str(path) in others:
                    notes.append(f"Only {path} was handed in.")
                elif len(path.parts) > DEPTH_LIMIT:
                    raise Unreadable(f"The folders lie more than {DEPTH_LIMIT} deep.")
                else:
                    folders.append(path)


class _NotPlain(Unreadable):
    """It is not a file: a link, a pipe, a device."""


def plain_bytes(path: Path, name: str) -> bytes:
    """Return the bytes of a plain file. Raise Unreadable for anything else, without waiting."""
    other = f"{last_name(name)} is not a plain file."
    with _theirs(name):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _NotPlain(_link(name) if path.is_symlink() else other)
        # It may be something else by now: a link is refused, a pipe opens without a writer.
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _NotPlain(other)
            data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise Unreadable(f"{last_name(name)} is larger than {FILE_LIMIT // 2**20} MiB.")
    return data


def _is_folder(path: Path) -> bool:
    """Return whether it is a folder. Raise Unreadable for a link, which is not followed."""
    with _theirs(path.name):
        mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise Unreadable(_link(path.name))
    return stat.S_ISDIR(mode)


def _is_there(path: Path) -> bool:
    with _theirs(path.name), suppress(FileNotFoundError):
        path.lstat()
        return True
    return False


@contextmanager
def _theirs(name: str) -> Iterator[None]:
    """Turn an error that a student's file causes, and not this machine, into a reason."""
    try:
        yield
    except OSError as error:
        if error.errno not in _THEIRS:
            raise
        raise Unreadable(f"{last_name(name)} cannot be read: {error.strerror}.") from None


def _link(name: str) -> str:
    return f"{last_name(name)} is a link, which is not followed."


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
