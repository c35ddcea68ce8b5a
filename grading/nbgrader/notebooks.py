"""A student's notebook on its way into nbgrader: read as data, and fixed from the gradebook.

nbgrader itself trusts a submitted notebook: a cell that was deleted, copied, retyped or renamed
costs a student the mark, or the whole class the run.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from nbformat import NotebookNode, from_dict
from nbgrader.api import Gradebook

from grading.parsing.source import UNGRADED, Source, Unreadable, parse_notebook, read_source
from grading.submissions.reading import plain_bytes

# More cells than a person writes, and more text in one than a person reads.
CELLS_LIMIT = 5_000
TEXT_LIMIT = 50_000
# Where a notebook says why nothing of the one that was handed in could be used.
REASON = "backprop_unreadable"
SCHEMA_VERSION = 3

_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
_MARK = ("grade_id", "cell_type", "grade", "solution", "locked", "points")
_PICTURES = ("image/png", "image/jpeg", "image/gif")


class _SubmittedCell(msgspec.Struct):
    cell_type: str
    source: str | list[str] | None = ""
    metadata: object = None
    attachments: object = None


class _Submitted(msgspec.Struct):
    cells: list[_SubmittedCell]


_submitted = msgspec.json.Decoder(_Submitted, strict=False)


def read_submitted(path: Path) -> NotebookNode:
    """Return the notebook at ``path`` with nothing in it but text and nbgrader's marks.

    Outputs and all other metadata are dropped. A notebook that cannot be used becomes an empty one
    whose metadata say why. Raise OSError if this machine is at fault.
    """
    try:
        data = plain_bytes(path, path.name)
        read_source(path.name, data)  # whatever is refused elsewhere is refused here
        cells = parse_notebook(data, _submitted).cells
        if len(cells) > CELLS_LIMIT:
            raise Unreadable(f"The notebook has more than {CELLS_LIMIT} cells.")
    except Unreadable as why:
        return of_reason(str(why))
    return _notebook([_cell(number, cell) for number, cell in enumerate(cells)])


def of_reason(why: str) -> NotebookNode:
    """Return the notebook of a student who has handed in nothing that can be used."""
    return _notebook([], {REASON: why})


def of_source(source: Source) -> NotebookNode:
    """Return a notebook with the code of a module, or of what was in a zip."""
    return _notebook(
        [_made(number, "code", cell.text, {}) for number, cell in enumerate(source.cells)]
    )


def fix_cells(
    notebook: NotebookNode, gradebook: Gradebook, name: str, assignment: str
) -> list[str]:
    """Give every cell the marks that the gradebook has for it; return what was changed.

    A cell with an unknown id loses its mark, and so do all but the last of those that share one.
    """
    known = {mark["grade_id"]: mark for mark in _marks(gradebook, name, assignment)}
    changes: list[str] = []
    seen: set[str] = set()
    for cell in reversed(notebook.cells):
        if (had := cell.metadata.pop("nbgrader", None)) is None:
            continue
        id = str(had.get("grade_id"))
        if id not in known or id in seen:
            what = "occurs more than once" if id in seen else "is not one of the assignment's"
            changes.append(f"cell {id[:40]!r} {what}")
            if had.get("grade") and not had.get("solution"):
                cell.metadata["tags"] = [UNGRADED]  # a check, though not one that counts
            continue
        seen.add(id)
        mark = known[id]
        changes += [
            f"cell {id!r} had {key} = {str(had.get(key))[:40]} instead of {mark[key]}"
            for key in ("grade", "solution", "locked", "points")
            if key in mark and had.get(key) != mark[key]
        ]
        cell.metadata["nbgrader"] = _node(mark)
    return changes


def add_missing(
    notebook: NotebookNode, gradebook: Gradebook, name: str, assignment: str
) -> list[str]:
    """Add the cells with points that are missing, at the end; return their ids.

    There they move no line of the student's to another cell's number.
    """
    there = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
    sources = {each.name: each for each in gradebook.find_notebook(name, assignment).source_cells}
    added: list[str] = []
    for mark in _marks(gradebook, name, assignment):
        id = mark["grade_id"]
        if id not in there and (mark["grade"] or mark["task"]):
            kind, text = sources[id].cell_type, sources[id].source
            notebook.cells.append(_made(len(notebook.cells), kind, text, {"nbgrader": mark}))
            added.append(id)
    return added


def _notebook(cells: list[NotebookNode], metadata: dict[str, Any] | None = None) -> NotebookNode:
    metadata = {"language_info": {"name": "python"}} | (metadata or {})
    return _node({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells})


def _cell(number: int, found: _SubmittedCell) -> NotebookNode:
    """Return a student's cell: its text, its pictures, and the metadata that mean something."""
    text = "".join(found.source or "").encode("utf-8", "replace").decode("utf-8")
    metadata = _metadata(found.metadata)
    mark = metadata.get("nbgrader", {})
    kind = found.cell_type if found.cell_type in ("code", "markdown") else "raw"
    if mark.get("solution") and mark.get("cell_type") == "code":
        kind = "code"  # its type was changed by accident, as read_source has it
    if kind != "code" and len(text) > TEXT_LIMIT:
        text = f"{text[:TEXT_LIMIT]}\n\n(shortened: it had {len(text)} characters)"
    cell = _made(number, kind, text, metadata)
    if kind == "markdown" and (pictures := _attachments(found.attachments)):
        cell["attachments"] = pictures
    return cell


def _made(number: int, kind: str, text: str, metadata: dict[str, Any]) -> NotebookNode:
    cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "source": text}
    if kind == "code":
        cell |= {"outputs": [], "execution_count": None}
    if kind == "raw":
        # Without a type of its own, a raw cell would be taken for HTML.
        metadata["raw_mimetype"] = "text/plain"
    return _node(cell | {"metadata": metadata})


def _node(data: dict[str, Any]) -> NotebookNode:
    made: NotebookNode = from_dict(data)  # type: ignore[no-untyped-call]
    return made


def _metadata(found: object) -> dict[str, Any]:
    """Return the part of a cell's metadata that is used: nbgrader's mark and one tag."""
    found = found if isinstance(found, dict) else {}
    kept: dict[str, Any] = {}
    mark, tags = found.get("nbgrader"), found.get("tags")
    if isinstance(mark, dict):
        kept["nbgrader"] = {key: mark[key] for key in _MARK if key in mark}
    if isinstance(tags, list) and UNGRADED in tags:
        kept["tags"] = [UNGRADED]
    return kept


def _attachments(found: object) -> dict[str, dict[str, str]]:
    """Return the pictures pasted into an answer, and nothing that could act."""
    kept: dict[str, dict[str, str]] = {}
    for name, forms in found.items() if isinstance(found, dict) else ():
        shown = {
            form: data
            for form, data in (forms.items() if isinstance(forms, dict) else ())
            if form in _PICTURES and isinstance(data, str) and _BASE64.fullmatch(data)
        }
        if shown:
            kept[name.encode("utf-8", "replace").decode("utf-8")] = shown
    return kept


def _marks(gradebook: Gradebook, name: str, assignment: str) -> Iterator[dict[str, Any]]:
    """Yield nbgrader's metadata of the cells of an assignment's notebook, from the gradebook."""
    notebook = gradebook.find_notebook(name, assignment)
    points = {cell.name: cell.max_score for cell in (*notebook.grade_cells, *notebook.task_cells)}
    grades = {cell.name for cell in notebook.grade_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    tasks = {cell.name for cell in notebook.task_cells}
    for source in notebook.source_cells:
        mark = {
            "schema_version": SCHEMA_VERSION,
            "cell_type": source.cell_type,
            "checksum": source.checksum,
            "grade": source.name in grades,
            "grade_id": source.name,
            "locked": source.locked,
            "solution": source.name in solutions,
            "task": source.name in tasks,
        }
        yield mark | ({"points": points[source.name]} if source.name in points else {})
