"""Runs a submission's top-level statements one by one: one that fails hides no other."""

import ast
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from grading.confined.stand_ins import Shell
from grading.confined.statements import future, run_statement, statements
from grading.confined.wire import LATER, Statement
from grading.parsing.magics import plain_python
from grading.parsing.source import Cell, Source
from harness.candidate.lines import place_of
from harness.candidate.workbench import describe

IMPORTS = (ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, *IMPORTS)
# What is tried again if it failed for want of something that is defined further down.
AGAIN = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Assign, ast.AnnAssign)
MOST_AGAIN = 1_000


class NothingParses(Exception):
    """None of the code is valid Python; the text says where and why."""


@dataclass
class Definitions:
    """What the statements defined, and those that failed."""

    module: types.ModuleType
    failed: list[Statement] = field(default_factory=list)


@dataclass(frozen=True)
class _Piece:
    cell: Cell
    node: ast.stmt
    flags: int

    @property
    def place(self) -> str:
        return place_of(self.cell.name, self.node.lineno)

    def defines(self) -> set[str]:
        if isinstance(self.node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            return {self.node.name}
        if isinstance(self.node, IMPORTS):
            return {each.asname or each.name.partition(".")[0] for each in self.node.names}
        return {
            node.id
            for node in ast.walk(self.node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }


class _Early(NamedTuple):
    """A definition that failed for want of a name, and where that is defined."""

    piece: _Piece
    failed: Statement
    name: str
    below: str


def run_definitions(
    source: Source,
    skip: Sequence[int],
    until: int | None,
    started: Callable[[int, str], None],
    *,
    ignored: type[Exception],
) -> Definitions:
    """Run the statements of ``source`` in a fresh module, calling ``started`` before each.

    A statement that raises ``ignored`` is not reported, nor are those that need what it would have
    defined. Those that need what is defined further down are run again in the end. Raise
    NothingParses if syntax errors leave nothing to run.
    """
    done = Definitions(_fresh_module(source))
    pieces = list(_pieces(source, done.failed))
    if not pieces and done.failed:
        first = done.failed[0]
        raise NothingParses(f"{first.kind} at {first.place}: {first.text}.")
    missing: set[str] = set()
    early: list[_Early] = []
    last: dict[str, int] = {}

    def start(index: int, piece: _Piece) -> bool:
        late = until is not None and index >= until
        if index in skip or (late and not isinstance(piece.node, DEFINITIONS)):
            return False
        started(index, piece.place)
        return True

    for index, piece in enumerate(pieces):
        if not start(index, piece):
            continue
        try:
            _run(piece, done.module)
        except (Exception, SystemExit) as error:
            name = error.name if isinstance(error, NameError) else ""
            if name in missing or isinstance(error, ignored):
                missing |= piece.defines()
                continue
            failed = _failure(piece, error)
            last = last or {name: at for at, each in enumerate(pieces) for name in each.defines()}
            if name and last.get(name, 0) > index:
                below = pieces[last[name]].place
                text = f"{failed.text}; it is defined below, in {below}"
                failed = msgspec.structs.replace(failed, text=text)
                early.append(_Early(piece, failed, name, below))
            done.failed.append(failed)
    _run_again(early, done, lambda more, piece: start(len(pieces) + more, piece))
    return done


def _run_again(
    early: list[_Early], done: Definitions, start: Callable[[int, _Piece], bool]
) -> None:
    """Run again what has failed for want of something, as long as that helps."""
    names = vars(done.module)
    waiting = [each for each in early if isinstance(each.piece.node, AGAIN)]
    count, before = 0, -1
    while len(waiting) != before and count < MOST_AGAIN:
        before = len(waiting)
        for each in list(waiting):
            # What has been defined since is not to be replaced by an older version.
            if each.name not in names or each.piece.defines() <= names.keys():
                continue
            count += 1
            if not start(count - 1, each.piece):
                waiting.remove(each)
                continue
            try:
                _run(each.piece, done.module)
            except (Exception, SystemExit):
                continue
            waiting.remove(each)
            text = f"it needs {each.name}, which is defined below, in {each.below}"
            later = msgspec.structs.replace(each.failed, kind=LATER, text=text)
            done.failed[done.failed.index(each.failed)] = later


def _fresh_module(source: Source) -> types.ModuleType:
    # A notebook's cells run as __main__; a module that is imported does not.
    module = types.ModuleType("__main__" if source.notebook else "submission")
    module.__file__ = source.cells[0].name
    sys.modules[module.__name__] = module
    if source.notebook or any("get_ipython()." in cell.text for cell in source.cells):
        shell = Shell(lambda code: exec(code, module.__dict__))
        module.__dict__.update(display=_nothing, get_ipython=lambda: shell)
    return module


def _pieces(source: Source, failed: list[Statement]) -> Iterator[_Piece]:
    flags = 0
    for cell in source.cells:
        text = plain_python(cell.text) if source.notebook else cell.text
        lines = text.splitlines(keepends=True)
        linecache.cache[cell.name] = (len(text), None, lines, cell.name)
        try:
            nodes, lost = statements(text, cell.name)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            failed.append(_unparsed(cell, text, error))
            continue
        failed += (_unparsed(cell, piece, error) for piece, error in lost)
        for node in nodes:
            flags |= future(node)
            yield _Piece(cell, node, flags)


def _run(piece: _Piece, module: types.ModuleType) -> None:
    run_statement(piece.node, piece.cell.name, piece.flags, module.__dict__)


def _failure(piece: _Piece, error: BaseException) -> Statement:
    said = describe(error)
    return Statement(said.place or piece.place, said.kind, said.text, sorted(piece.defines()))


def _unparsed(cell: Cell, text: str, error: Exception) -> Statement:
    said = describe(error)
    line = error.lineno if isinstance(error, SyntaxError) and error.lineno else 1
    defines = re.findall(r"^[^\S\n]*class[^\S\n]+(\w+)", text, flags=re.MULTILINE)
    exhausted = isinstance(error, MemoryError | RecursionError)
    why = "it is too large or nested too deeply to be parsed" if exhausted else said.text
    return Statement(place_of(cell.name, line), said.kind, why, defines)


def _nothing(*_args: object, **_options: object) -> None:
    """Stand for a function that only a notebook has."""
