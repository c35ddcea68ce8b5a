"""Runs a submission's top-level statements one by one: one that fails hides no other."""

import __future__

import ast
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from grading.confined.source import Cell, Source
from grading.confined.wire import Statement
from harness.candidate.lines import place_of
from harness.candidate.workbench import describe

# The body of these cell magics is Python that runs in the notebook itself.
PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.Import, ast.ImportFrom)


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
        return {
            node.id
            for node in ast.walk(self.node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }


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
    defined. Raise NothingParses if syntax errors leave nothing to run.
    """
    done = Definitions(_fresh_module(source))
    pieces = list(_pieces(source, done.failed))
    if not pieces and done.failed:
        first = done.failed[0]
        raise NothingParses(f"{first.kind} at {first.place}: {first.text}.")
    missing: set[str] = set()
    for index, piece in enumerate(pieces):
        late = until is not None and index >= until
        if index in skip or (late and not isinstance(piece.node, DEFINITIONS)):
            continue
        started(index, piece.place)
        try:
            _run(piece, done.module)
        except (Exception, SystemExit) as error:
            lost = isinstance(error, NameError) and error.name in missing
            if lost or isinstance(error, ignored):
                missing |= piece.defines()
            else:
                said = describe(error)
                place, names = said.place or piece.place, sorted(piece.defines())
                done.failed.append(Statement(place, said.kind, said.text, names))
    return done


def _fresh_module(source: Source) -> types.ModuleType:
    # A notebook's cells run as __main__; a module that is imported does not.
    module = types.ModuleType("__main__" if source.notebook else "submission")
    module.__file__ = source.cells[0].name
    sys.modules[module.__name__] = module
    if source.notebook:
        module.__dict__.update(display=_nothing, get_ipython=_nothing)
    return module


def _pieces(source: Source, failed: list[Statement]) -> Iterator[_Piece]:
    flags = 0
    for cell in source.cells:
        text = _without_magics(cell.text) if source.notebook else cell.text
        lines = text.splitlines(keepends=True)
        linecache.cache[cell.name] = (len(text), None, lines, cell.name)
        try:
            tree = ast.parse(text, cell.name)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            failed.append(_unparsed(cell, text, error))
            continue
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                for alias in node.names:
                    feature = getattr(__future__, alias.name, None)
                    flags |= getattr(feature, "compiler_flag", 0)
            yield _Piece(cell, node, flags)


def _run(piece: _Piece, module: types.ModuleType) -> None:
    tree = ast.Module([piece.node], type_ignores=[])
    code = compile(tree, piece.cell.name, "exec", flags=piece.flags, dont_inherit=True)
    exec(code, module.__dict__)


def _unparsed(cell: Cell, text: str, error: Exception) -> Statement:
    said = describe(error)
    line = error.lineno if isinstance(error, SyntaxError) and error.lineno else 1
    defines = re.findall(r"^[^\S\n]*class[^\S\n]+(\w+)", text, flags=re.MULTILINE)
    return Statement(place_of(cell.name, line), said.kind, said.text, defines)


def _without_magics(text: str) -> str:
    """Return a cell without what only IPython understands; line numbers stay."""
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith("%%"):
        if first.split()[0] not in PYTHON_MAGICS:
            return ""
        text = text.replace(first, "", 1)
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "\n".join(map(_python_line, text.split("\n")))
    return text


def _python_line(line: str) -> str:
    stripped = line.strip()
    if re.match(r"%%?[a-zA-Z]|!|\?", stripped) or re.fullmatch(r"[\w.]+\?{1,2}", stripped):
        # The block that held the magic must not become empty.
        return line[: len(line) - len(line.lstrip())] + "pass"
    return re.sub(r"^(\s*\w+\s*=)\s*(!|%[a-zA-Z]).*", r"\1 None", line)


def _nothing(*_args: object, **_options: object) -> None:
    """Stand for a function that only a notebook has."""
