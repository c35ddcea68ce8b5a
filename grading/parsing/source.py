"""A student's code as text: a module, or the code cells of a notebook. Nothing is run here."""

from __future__ import annotations

import io
import json
import re
import tokenize
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar

import msgspec

from harness.candidate.forms import Pair

# Of one file: its size, the size of its code, and the number of its code cells. Outputs and
# pictures make notebooks large, code does not.
FILE_LIMIT = 48 * 1024 * 1024
CODE_LIMIT = 4 * 1024 * 1024
CELLS_LIMIT = 10_000
CODE = (".py", ".ipynb")
UNGRADED = "ungraded"
# The endings of what is read, also where a browser or a mail program has added one.
_ENDING = re.compile(r"(?:(\.py|\.ipynb)(?:\.txt|\.json)?|(\.zip))$", re.IGNORECASE)
# How the module begins that is handed out beside a notebook.
HANDED_OUT = "# Handed out by `backprop release`"

Form = TypeVar("Form")
Part = Literal["run", "all", "own"]


class Unreadable(Exception):
    """There is no usable code; the text says why, in a student's words."""


class File(msgspec.Struct, frozen=True):
    """A file as it was handed in: its name without folders, and its bytes."""

    name: str
    data: bytes


class Cell(msgspec.Struct, frozen=True):
    """A piece of code and the name its lines go by: ``submission.py`` or ``<cell 3>``."""

    name: str
    text: str


class Source(msgspec.Struct, frozen=True):
    """The code of a submission, in order, and the ``modules`` beside it, which it imports.

    ``handout`` is the module that it may import although it is not there: what is handed out with
    the assignment. ``pairs`` are the stages that are pairs of functions. ``file`` is the path of
    the one that holds it, if there were several, and ``passed_over`` names those that it was
    preferred to.
    """

    cells: Annotated[tuple[Cell, ...], msgspec.Meta(max_length=CELLS_LIMIT)]
    notebook: bool
    handout: str = ""
    modules: Annotated[tuple[Cell, ...], msgspec.Meta(max_length=CELLS_LIMIT)] = ()
    file: str = ""
    passed_over: Annotated[tuple[str, ...], msgspec.Meta(max_length=10)] = ()
    pairs: dict[str, Pair] = {}

    def written_for(self, module: str, pairs: Mapping[str, Pair]) -> Source:
        """Return the same code for an assignment: its handout imports ``module``."""
        return msgspec.structs.replace(self, handout=module, pairs=dict(pairs))


class _NbgraderMark(msgspec.Struct, frozen=True):
    grade: bool | None = False
    solution: bool | None = False
    locked: bool | None = False
    cell_type: object = None


class _Metadata(msgspec.Struct, frozen=True):
    nbgrader: _NbgraderMark | None = None
    tags: object = None


class _NotebookCell(msgspec.Struct, frozen=True):
    cell_type: str
    source: str | list[str] | None = ""
    metadata: _Metadata = _Metadata()


class _Notebook(msgspec.Struct, frozen=True):
    nbformat: int
    cells: list[_NotebookCell] | None = None


_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}

# Made on import, in the warm process: later a child has no modules to look types up in.
_notebooks = msgspec.json.Decoder(_Notebook, strict=False)


def form_of(name: str) -> str:
    """Return what a file is read as by its name: .py, .ipynb or .zip; "" if it is not."""
    ending = _ENDING.search(name)
    return (ending[1] or ending[2]).lower() if ending else ""


def stem_of(name: str) -> str:
    """Return a file's name without its ending, as `form_of` knows it."""
    ending = _ENDING.search(name)
    return name[: ending.start()] if ending else PurePosixPath(name).stem.removesuffix(".tar")


def read_source(name: str, data: bytes, part: Part = "run") -> Source:
    """Return the code in a file called ``name``. Raise Unreadable if there is none.

    Of a notebook that is what is ``run``: not the cells that check a student's work. It can also be
    ``all``, or the student's ``own``: nothing that was handed out and locked.
    """
    if not data or data.isspace():
        raise Unreadable("The file is empty.")
    if len(data) > FILE_LIMIT:
        raise Unreadable(f"The file is larger than {FILE_LIMIT // 2**20} MiB.")
    # Either can have been given the other's name.
    is_json = data.removeprefix(BOM_UTF8).lstrip()[:1] == b"{"
    sign, named = (b'"nbformat"', True) if is_json else (b"\nclass ", False)
    is_notebook = named if sign in data else form_of(name) == ".ipynb"
    source = _read_notebook(data, part) if is_notebook else _read_module(name, data)
    if sum(len(cell.text.encode()) for cell in source.cells) > CODE_LIMIT:
        raise Unreadable(f"The file holds more than {CODE_LIMIT // 2**20} MiB of code.")
    if len(source.cells) > CELLS_LIMIT:
        raise Unreadable(f"The notebook has more than {CELLS_LIMIT} cells of code.")
    return source


def parse_notebook(data: bytes, decoder: msgspec.json.Decoder[Form]) -> Form:
    """Return a notebook as the decoder's type; the rest is skipped.

    Raise Unreadable if it is not such a notebook.
    """
    try:
        return decoder.decode(data.removeprefix(BOM_UTF8))
    except (UnicodeDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise _damaged(error) from None
    except msgspec.DecodeError:
        pass  # Jupyter's own reader takes more: NaN in an output, half a surrogate pair
    try:
        return msgspec.convert(json.loads(data.decode("utf-8-sig")), decoder.type, strict=False)
    except (ValueError, RecursionError) as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> Unreadable:
    match error:
        case UnicodeDecodeError():
            return Unreadable("The notebook is not UTF-8 text.")
        case RecursionError():
            what = "its JSON is nested too deeply"
        case json.JSONDecodeError():
            what = f"its JSON ends or goes wrong at line {error.lineno}, column {error.colno}"
        case _:
            what = _unlike_jupyter(str(error))
    return Unreadable(f"The notebook is damaged: {what}. Hand in a copy that opens in Jupyter.")


def _unlike_jupyter(said: str) -> str:
    """Return in plain words what msgspec says about JSON that is not a notebook's."""
    said, _, path = said.partition(" - at `$")
    field = path.removeprefix(".").removesuffix("`")
    place = f"{field} in its JSON" if field else "its JSON"
    if missing := re.fullmatch("Object missing required field `(.+)`", said):
        return f"{place} has no {missing[1]}"
    if other := re.fullmatch("Expected .+, got `([^`]+)`?", said):
        return f"{place} is {_KINDS.get(other[1], other[1])}, which Jupyter does not write there"
    return f"{place} cannot be read: {said}"


def _read_module(name: str, data: bytes) -> Source:
    if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        data = data.decode("utf-16", "replace").encode()
    if b"\0" in data:
        raise Unreadable("This is not a Python file: it holds binary data.")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError):
        raise Unreadable(
            "The file is not UTF-8 text: save it with the encoding UTF-8 and hand it in again."
        ) from None
    return Source((Cell(name, _newlines(text)),), notebook=False)


def _read_notebook(data: bytes, part: Part) -> Source:
    notebook = parse_notebook(data, _notebooks)
    if notebook.nbformat < 4:
        raise Unreadable(
            f"The notebook has the old format {notebook.nbformat}: open it in Jupyter, save it, "
            "and hand it in again."
        )
    # Jupyter does not count an empty cell when it runs all.
    code = [cell for cell in notebook.cells or () if _is_code(cell) and _text_of(cell).strip()]
    cells = (
        Cell(f"<cell {number}>", _newlines(_text_of(cell)))
        for number, cell in enumerate(code, start=1)
        if part == "all" or not (_is_check(cell) or _is_ungraded(cell))
        if part != "own" or not _is_locked(cell)
    )
    with_code = tuple(cells)
    if not with_code:
        raise Unreadable("The notebook has no code of yours.")
    return Source(with_code, notebook=True)


def _text_of(cell: _NotebookCell) -> str:
    return "".join(cell.source or "")


def _is_code(cell: _NotebookCell) -> bool:
    """Return whether it is code, also if a student changed the type of a cell by accident."""
    mark = cell.metadata.nbgrader
    meant = mark is not None and bool(mark.solution) and mark.cell_type == "code"
    return cell.cell_type == "code" or meant


def _is_check(cell: _NotebookCell) -> bool:
    """Return whether it is one of nbgrader's test cells, which are not the student's work."""
    mark = cell.metadata.nbgrader
    return mark is not None and bool(mark.grade) and not mark.solution


def _is_locked(cell: _NotebookCell) -> bool:
    mark = cell.metadata.nbgrader
    return mark is not None and bool(mark.locked)


def _is_ungraded(cell: _NotebookCell) -> bool:
    """Return whether the handout's author marked it as a picture or a demonstration."""
    tags = cell.metadata.tags
    return isinstance(tags, list) and UNGRADED in tags


def _newlines(text: str) -> str:
    # A lone surrogate cannot be encoded; Python would refuse it too.
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"\r\n?", "\n", whole.removeprefix("\ufeff"))
