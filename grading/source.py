"""A student's code as text: a module, or the code cells of a notebook. Nothing is run here."""

from __future__ import annotations

import io
import json
import re
import tokenize

import msgspec

FILE_LIMIT = 16 * 1024 * 1024
UNGRADED = "ungraded"


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
    """The code of a submission, in order."""

    cells: tuple[Cell, ...]
    notebook: bool


class _NbgraderMark(msgspec.Struct, frozen=True):
    grade: bool | None = False
    solution: bool | None = False
    cell_type: object = None


class _Metadata(msgspec.Struct, frozen=True):
    nbgrader: _NbgraderMark | None = None
    tags: object = None


class _NotebookCell(msgspec.Struct, frozen=True):
    cell_type: str
    source: str | list[str] | None = ""
    metadata: _Metadata = _Metadata()


class _Notebook(msgspec.Struct, frozen=True):
    cells: list[_NotebookCell]
    nbformat: int


class _Format(msgspec.Struct, frozen=True):
    nbformat: int


def read_source(name: str, data: bytes) -> Source:
    """The code in a file called ``name``. Raises Unreadable where there is none."""
    if not data.strip():
        raise Unreadable("The file is empty.")
    if len(data) > FILE_LIMIT:
        raise Unreadable(f"The file is larger than {FILE_LIMIT // 2**20} MiB.")
    return _read_notebook(data) if name.lower().endswith(".ipynb") else _read_module(name, data)


def _read_module(name: str, data: bytes) -> Source:
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


def _read_notebook(data: bytes) -> Source:
    try:
        # Python's own reader, as Jupyter's: outputs may hold NaN, which strict JSON has not.
        content = json.loads(data.decode("utf-8-sig"))
        version = msgspec.convert(content, _Format, strict=False).nbformat
        if version < 4:
            raise Unreadable(
                f"The notebook has the old format {version}: open it in Jupyter, save it, and "
                "hand it in again."
            )
        notebook = msgspec.convert(content, _Notebook, strict=False)
    except UnicodeDecodeError:
        raise Unreadable("The notebook is not UTF-8 text.") from None
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise Unreadable(f"The notebook is damaged, not a notebook's JSON: {error}.") from None
    code = [cell for cell in notebook.cells if _is_code(cell)]
    cells = tuple(
        Cell(f"<cell {number}>", _newlines("".join(cell.source or "")))
        for number, cell in enumerate(code, start=1)
        if not (_is_check(cell) or _is_ungraded(cell))
    )
    if not any(cell.text.strip() for cell in cells):
        raise Unreadable("The notebook has no code of yours.")
    return Source(cells, notebook=True)


def _is_code(cell: _NotebookCell) -> bool:
    """Whether it is code: also a cell for a student's code whose type was changed by accident."""
    mark = cell.metadata.nbgrader
    meant = mark is not None and bool(mark.solution) and mark.cell_type == "code"
    return cell.cell_type == "code" or meant


def _is_check(cell: _NotebookCell) -> bool:
    """Whether it is one of nbgrader's test cells, which are not the student's work."""
    mark = cell.metadata.nbgrader
    return mark is not None and bool(mark.grade) and not mark.solution


def _is_ungraded(cell: _NotebookCell) -> bool:
    """Whether the handout's author marked it as a picture or a demonstration."""
    tags = cell.metadata.tags
    return isinstance(tags, list) and UNGRADED in tags


def _newlines(text: str) -> str:
    # A lone surrogate is no text that could be sent on; Python would refuse it too.
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"\r\n?", "\n", whole.removeprefix("\ufeff"))
