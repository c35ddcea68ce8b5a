"""Chooses the file that is a student's work among all that were handed in, by rules that are told.

Nothing is guessed: what the rules leave open is for a person to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePosixPath

import msgspec

from grading.parsing.source import (
    CODE_LIMIT,
    HANDED_OUT,
    Cell,
    File,
    Part,
    Source,
    Unreadable,
    form_of,
    read_source,
    stem_of,
)
from grading.parsing.zips import contents, last_name, nothing, short_path, shown_name

# Of all files of a submission, unpacked; and how many are told when a person has to choose.
TOTAL_LIMIT = 64 * 1024 * 1024
MOST_TOLD = 8
# Files that are never work, and those that are if there is nothing else; and folders of such.
_NEVER = ("conftest", "setup", "noxfile", "activate_this", "__init__")
_ASIDE_NAME = re.compile(r"readme.*|test|test_.*|.*_test|__main__", re.IGNORECASE)
_NO_WORK_IN = {"test", "tests", "doc", "docs", "build", "dist"}
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*\w[\w.]*)[ \t]+import|(?:from[ \t]+\.[ \t]+)?import[ \t]+([^#\n]+)"
    r"|%run[ \t]+(?:\./)?(\w+))",
    re.MULTILINE,
)
_WRITE = re.compile(
    r"\s*%%(?:write)?file[ \t]+(-a[ \t]+|--append[ \t]+)?([\"']?)(?:\./)?([^\s\"']+\.py)\2[ \t]*\n"
)
_BACKWARD = re.compile(
    r"^[ \t]*def[ \t]+(\w*(?:backward|vjp|grad|step|update)\w*)[ \t]*\(", re.MULTILINE
)
# With which of the two a backward ends first: a stub is one that was never written.
_ENDS = re.compile(r"^[ \t]*(?:return\b|raise[ \t]+(NotImplementedError)\b)", re.MULTILINE)
_EXPORTED = re.compile(r"^# In\[[ \d]*\]:", re.MULTILINE)
# A comment, or what only IPython understands, written as in a notebook or as its export has it.
_ASIDE = re.compile(r"\s*(?:#|[%!?]|$)|.*get_ipython\(\)|\s*\w[\w, ]*=\s*[%!]")


def _plain(stem: str) -> str:
    return re.sub(r"[_ ]", "-", stem.lower())


class Ambiguous(Unreadable):
    """A person has to decide: the files can be meant in several ways."""


class Sought(msgspec.Struct, frozen=True):
    """What a submission is read for: an assignment, and the file that a person has chosen, if any.

    ``modules`` holds what the handouts of all assignments import, by their names. ``handout`` is
    the name of the notebook, if that is not the assignment's.
    """

    assignment: str = ""
    modules: dict[str, str] = {}
    file: str = ""
    handout: str = ""

    def is_handout(self, stem: str) -> bool:
        """Return whether a file with that stem is called like what was handed out."""
        return _plain(stem) == _plain(self.handout or self.assignment)


ANYTHING = Sought()
# How to read each file, by its path.
There = Mapping[PurePosixPath, Callable[[], bytes]]


@dataclass(frozen=True)
class _Found:
    """A code file: its path in the submission, and how to read it."""

    path: str
    read: Callable[[], bytes]

    @cached_property
    def data(self) -> bytes:
        return self.read()

    @cached_property
    def text(self) -> str | None:
        """All code in it; None if it cannot be read."""
        return self._read("all")

    def _read(self, part: Part) -> str | None:
        try:
            cells = read_source(self.path, self.data, part).cells
        except Unreadable:
            return None
        return "\n".join(cell.text for cell in cells)

    @cached_property
    def code(self) -> object:
        """What is the same for files with the same code."""
        if self.text is None:
            return self.path
        lines = self.text.split("\n")
        return tuple(line.rstrip() for line in lines if not _ASIDE.match(line))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        with suppress(Unreadable):
            return not self.data.strip()
        return False

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def imports(self) -> set[str]:
        return set(imported(self.text or ""))

    @property
    def is_notebook(self) -> bool:
        return form_of(self.name) == ".ipynb"

    @property
    def stem(self) -> str:
        return _plain(stem_of(self.name))

    @cached_property
    def written(self) -> list[bool]:
        """Whether each backward that is the student's own has been written."""
        ends = (_ENDS.search(piece) for piece in _BACKWARD.split(self._read("own") or "")[2::2])
        return [not (end and end[1]) for end in ends]

    def is_for(self, sought: Sought) -> str:
        """Return the other assignment that it is for, by its imports, else its name; "" if none."""
        return other_assignment(self.name, self.text or "", sought)


def source_of(files: Sequence[File], sought: Sought = ANYTHING) -> Source:
    """Return the code in the file that is the work, with the modules beside it that it imports.

    Raise Unreadable if there is none to use, and Ambiguous if a person has to decide.
    """
    found = _listed(files)
    chosen, passed_over = _chosen(found, sought)
    source = read_source(last_name(chosen.path), chosen.data)
    named = _is_named(chosen, sought)
    text = "\n".join(cell.text for cell in source.cells)
    if not named and (other := other_assignment(chosen.name, text, sought)):
        raise Ambiguous(
            f"This looks like {other}, handed in as {sought.assignment}. Grade it as {other}, or "
            f"choose it anyway with --file {last_name(chosen.path)}."
        )
    return msgspec.structs.replace(
        source,
        file=short_path(chosen.path) if len(found) > 1 or named else "",
        passed_over=tuple(last_name(each.path) for each in passed_over[:MOST_TOLD]),
        modules=modules_for(source, chosen.path, {each.path: each.read for each in found}),
    )


def chosen_file(files: Sequence[File], sought: Sought) -> File:
    """Return the file that is the work. Raise as `source_of` does."""
    chosen, _ = _chosen(_listed(files), sought)
    return File(last_name(chosen.path), chosen.data)


def other_assignment(name: str, text: str, sought: Sought) -> str:
    """Return the other assignment that code is for; "" if it is for the one that is sought.

    Its imports tell, else the name of its file.
    """
    used = set(imported(text))
    if not sought.assignment or sought.modules[sought.assignment] in used:
        return ""
    others = {one: module for one, module in sought.modules.items() if one != sought.assignment}
    by_import = [one for one, module in others.items() if module in used]
    by_name = [one for one in others if _plain(stem_of(name)) == one]
    return next(iter(by_import or by_name), "")


def imported(text: str) -> Iterator[str]:
    """Yield the first names of the modules that code imports; of the harness, those of handouts."""
    for match in _IMPORT.finditer(text):
        named = (match[1] or "").strip(".") or match[2] or match[3] or ""
        for part in named.split(","):
            words = part.split()
            names = words[0].split(".") if words else [""]
            if names[0] == "harness" and len(names) > 1:
                # As handouts are called that come with an assignment: a word alone is lengthened.
                yield names[1] if "_" in names[1] else f"{names[1]}_assignment"
            else:
                yield names[0]


def modules_for(
    source: Source, path: str, there: Mapping[str, Callable[[], bytes]]
) -> tuple[Cell, ...]:
    """Return the modules beside a file that its code imports, and those that these import.

    A notebook can also write some itself, with ``%%writefile``.
    ``there`` holds how to read every file, by its path. A cell's name is a module's path from where
    it is imported: ``helpers.py`` or ``layers/__init__.py``.
    """
    folder = PurePosixPath(path).parent
    others = {
        PurePosixPath(name): read
        for name, read in there.items()
        if name != path and name.lower().endswith(".py")
    }
    for cell in source.cells if source.notebook else ():
        if write := _WRITE.match(cell.text):
            at, text = folder / write[3], cell.text[write.end() :].encode()
            before = others[at]() + b"\n" if write[1] and at in others else b""
            others[at] = partial(bytes, before + text)
    found: dict[str, Cell] = {}
    waiting, met = [cell.text for cell in source.cells], set[str]()
    while waiting:
        for name in set(imported(waiting.pop())) - met:
            met.add(name)
            cells = list(_module(name, folder, others))
            found |= {cell.name: cell for cell in cells}
            waiting += [cell.text for cell in cells]
    if sum(len(cell.text.encode()) for cell in (*source.cells, *found.values())) > CODE_LIMIT:
        raise Unreadable(f"With its modules it holds more than {CODE_LIMIT // 2**20} MiB of code.")
    return tuple(found[name] for name in sorted(found))


def _module(name: str, folder: PurePosixPath, there: There) -> Iterator[Cell]:
    """Yield the files of the module or package called ``name`` that is nearest to a folder."""
    places: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in there:
        for depth, part in enumerate(path.parts):
            if part in (name, f"{name}.py"):
                places.setdefault(PurePosixPath(*path.parts[:depth]), []).append(path)
                break
    base = min(places, key=lambda each: (each != folder, len(each.parts), each), default=folder)
    for path in places.get(base, ()):
        with suppress(Unreadable):
            source = read_source(str(path.relative_to(base)), there[path]())
            if not source.notebook and not source.cells[0].text.startswith(HANDED_OUT):
                yield source.cells[0]


def _listed(files: Sequence[File]) -> list[_Found]:
    """Return all code files, also those in zips. Raise Unreadable if there is none."""
    found: list[_Found] = []
    notes: list[str] = []
    total = 0

    def counted(read: Callable[[], bytes]) -> bytes:
        nonlocal total
        data = read()
        total += len(data)
        if total > TOTAL_LIMIT:
            raise Unreadable("The files hold far more code than one.")
        return data

    for file in files:
        if form_of(file.name) != ".zip":
            found.append(_Found(file.name, partial(bytes, file.data)))
            continue
        try:
            inside = contents(last_name(file.name), file.data)
        except Unreadable as why:
            if len(files) == 1:
                raise
            # The work may be in it: a person has to look, unless another file is the handout.
            found.append(_Found(file.name, partial(_raise, why)))
            continue
        above = f"{file.name}/" if len(files) > 1 else ""
        for name in inside.code:
            read = partial(inside.unpacked, name)
            found.append(_Found(f"{above}{name}", partial(counted, read)))
        notes += inside.notes
    if not found:
        raise nothing(notes)
    return found


def _raise(why: Unreadable) -> bytes:
    raise why


def _is_named(found: _Found, sought: Sought) -> bool:
    known = (shown_name(found.path), short_path(found.path), last_name(found.path))
    return bool(sought.file) and sought.file in known


def _chosen(found: list[_Found], sought: Sought) -> tuple[_Found, list[_Found]]:
    """Return the file that is the work, and those that were not preferred to it."""
    named = [each for each in found if _is_named(each, sought)]
    if len(named) == 1 and len(found) > 1:
        return named[0], []
    if sought.file and len(found) > 1:
        raise Ambiguous(
            f"It holds no file called {sought.file}: its files are {_listing(found)}. Choose one "
            "of them with --file."
        )
    left = [each for each in found if each.is_notebook or stem_of(each.name) not in _NEVER]
    if not left:
        raise nothing([f"{last_name(each.path)} is not work." for each in found])
    # These say what a file is; the ones below prefer one work to another, which is told.
    for rule in (_not_handed_out, _not_aside, _without_copies, _with_backward, _not_imported):
        left = rule(left, sought) if len(left) > 1 else left
    works = left
    for rule in (_for_this, _touched, _called_like_handout):
        left = rule(left, sought) if len(left) > 1 else left
    if len(left) > 1:
        raise Ambiguous(
            f"There are {len(left)} files where one is expected: {_listing(left)}. Choose one with "
            "--file."
        )
    return left[0], [each for each in works if each is not left[0]]


def _listing(found: Sequence[_Found]) -> str:
    names = [short_path(each.path) for each in found[:MOST_TOLD]]
    more = [f"{len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []
    return ", ".join([*names, *more])


def _not_handed_out(found: list[_Found], _: Sought) -> list[_Found]:
    """Leave out the module that is handed out beside a notebook, which comes back with it."""
    return [
        each for each in found if each.is_notebook or not (each.text or "").startswith(HANDED_OUT)
    ] or found


def _not_aside(found: list[_Found], _: Sought) -> list[_Found]:
    """Leave out tests, documentation, what sets up tools, and empty files."""
    named = [
        each
        for each in found
        if not _ASIDE_NAME.fullmatch(stem_of(each.name))
        and not _NO_WORK_IN & {*PurePosixPath(each.path.lower()).parts[:-1]}
    ]
    found = named or found
    return [each for each in found if each.code and not each.is_empty] or found


def _without_copies(found: list[_Found], sought: Sought) -> list[_Found]:
    """Of files with the same code, and of a notebook and its export, leave one."""
    best: dict[object, _Found] = {}
    for each in sorted(found, key=partial(_rank, sought=sought)):
        best.setdefault(each.code, each)
    notebooks = {each.stem for each in best.values() if each.is_notebook}
    return [
        each
        for each in best.values()
        if each.is_notebook or each.stem not in notebooks or not _EXPORTED.search(each.text or "")
    ]


def _rank(each: _Found, sought: Sought) -> tuple[object, ...]:
    depth = len(PurePosixPath(each.path).parts)
    return not sought.is_handout(each.stem), not each.is_notebook, depth, each.path


def _with_backward(found: list[_Found], _: Sought) -> list[_Found]:
    """Leave out what defines nothing that could be a stage's, if there is anything that does.

    What gathers it from several modules is the work too.
    """
    having = [each for each in found if each.written]
    if not having:
        return found
    gathering = [
        each for each in found if len(having) > 1 and all(_uses(each, one) for one in having)
    ]
    return gathering or [each for each in found if each.written or each.text is None]


def _not_imported(found: list[_Found], _: Sought) -> list[_Found]:
    """Leave out the modules that another file uses."""
    return [
        each
        for each in found
        if not any(_uses(other, each) for other in found if other is not each)
    ] or found


def _uses(each: _Found, module: _Found) -> bool:
    parts = {*PurePosixPath(module.path).with_suffix("").parts}
    return not module.is_notebook and bool(parts & each.imports)


def _for_this(found: list[_Found], sought: Sought) -> list[_Found]:
    """Leave out work for other assignments."""
    return [each for each in found if not each.is_for(sought)] or found


def _touched(found: list[_Found], _: Sought) -> list[_Found]:
    """Leave out handouts in which nothing was written, if something was in another file."""
    return [each for each in found if any(each.written) or not each.written] or found


def _called_like_handout(found: list[_Found], sought: Sought) -> list[_Found]:
    """Leave the file called like the handout, unless more has been written in another one."""
    like = [each for each in found if sought.is_handout(each.stem)]
    most = max(sum(each.written) for each in found)
    return like if like and sum(like[0].written) == most else found
