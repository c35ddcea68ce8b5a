"""Reading what a student handed in: every file is code, or a reason in a student's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.parsing.source import FILE_LIMIT, Unreadable, read_source


def notebook(*cells, nbformat=4):
    return json.dumps({"nbformat": nbformat, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def code(source, **nbgrader):
    metadata = {"nbgrader": nbgrader} if nbgrader else {}
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": []}


def test_a_module_is_one_cell():
    source = read_source("alice.py", b"x = 1\r\ny = 2\r\n")
    assert not source.notebook
    assert [(cell.name, cell.text) for cell in source.cells] == [("alice.py", "x = 1\ny = 2\n")]


def test_a_notebook_is_its_code_cells_numbered_as_they_stand():
    text = notebook(
        code("a = 1"), {"cell_type": "markdown", "source": "# hi"}, code(["b = 2\n", "c = 3"])
    )
    source = read_source("alice.ipynb", text.encode())
    assert source.notebook
    assert [(cell.name, cell.text) for cell in source.cells] == [
        ("<cell 1>", "a = 1"),
        ("<cell 2>", "b = 2\nc = 3"),
    ]


def test_locked_check_cells_are_not_the_students_work_and_keep_their_number():
    text = notebook(
        code("check(Sigmoid)", grade=True, solution=False, locked=True),
        code("given = 1", grade=False, solution=False, locked=True),
        code("mine = 1", grade=True, solution=True, locked=False),
    )
    cells = read_source("alice.ipynb", text.encode()).cells
    assert [cell.name for cell in cells] == ["<cell 2>", "<cell 3>"]


def test_a_cell_for_code_that_was_retyped_by_accident_is_code():
    retyped = {"cell_type": "markdown"}
    work = code("x = 1", grade=False, solution=True, cell_type="code") | retyped
    answer = code("Because.", grade=True, solution=True, cell_type="markdown") | retyped
    source = read_source("alice.ipynb", notebook(work, answer).encode())
    assert [(cell.name, cell.text) for cell in source.cells] == [("<cell 1>", "x = 1")]


def test_cells_that_the_handout_marks_as_ungraded_are_left_out():
    picture = code("draw_chain()") | {"metadata": {"tags": ["ungraded"]}}
    odd = code("x = 1") | {"metadata": {"tags": 3}}
    cells = read_source("alice.ipynb", notebook(picture, odd).encode()).cells
    assert [cell.text for cell in cells] == ["x = 1"]


def test_what_jupyter_opens_is_read_too():
    """NaN in an output, a null for an empty source or mark, a byte order mark."""
    output = code("x = 1") | {"outputs": [{"data": {"application/json": float("nan")}}]}
    empty = code(None) | {"metadata": {"nbgrader": {"grade": None}}}
    data = b"\xef\xbb\xbf" + notebook(output, empty).encode()
    assert read_source("alice.ipynb", data).cells[0].text == "x = 1"


def test_declared_encodings_and_byte_order_marks_are_read():
    latin = "# -*- coding: latin-1 -*-\nname = 'Zoë'\n".encode("latin-1")
    assert "Zoë" in read_source("alice.py", latin).cells[0].text
    assert read_source("alice.py", "\ufeffx = 1".encode()).cells[0].text == "x = 1"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.py", b"", "empty"),
        ("a.py", b" \n\t", "empty"),
        ("a.ipynb", b"", "empty"),
        ("a.py", b"\x7fELF\0\0", "binary"),
        ("a.py", "x = 'é'".encode("latin-1"), "UTF-8"),
        ("a.py", b"# coding: no-such-encoding\n", "UTF-8"),
        ("a.py", b"#" * (FILE_LIMIT + 1), "larger"),
        ("a.ipynb", b"{", "damaged"),
        ("a.ipynb", b"[1, 2]", "damaged"),
        ("a.ipynb", b"[" * 100_000, "damaged"),
        ("a.ipynb", b'{"nbformat": 3, "worksheets": []}', "old format 3"),
        ("a.ipynb", notebook().encode(), "no code"),
        ("a.ipynb", notebook({"cell_type": "markdown", "source": "x"}).encode(), "no code"),
    ],
)
def test_a_file_without_usable_code_has_a_reason(name, data, reason):
    with pytest.raises(Unreadable, match=reason):
        read_source(name, data)


@given(st.binary(max_size=400), st.sampled_from(["a.py", "a.ipynb"]))
def test_any_bytes_are_code_or_have_a_reason(data, name):
    try:
        source = read_source(name, data)
    except Unreadable:
        return
    assert source.cells


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["cells", "nbformat", "metadata"]), json_values))
def test_any_json_is_code_or_has_a_reason(value):
    reason = ""
    try:
        read_source("a.ipynb", json.dumps(value).encode())
    except Unreadable as error:
        reason = str(error)
    assert "`" not in reason
    assert "Expected" not in reason


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"[1, 2]", "its JSON is a list, which Jupyter does not write there"),
        (b'{"cells": [], "a": "\\"nbformat\\""}', "its JSON has no nbformat"),
        (b'{"nbformat": "four"}', "nbformat in its JSON is text, which"),
        (b'{"nbformat": NaN}', "nbformat in its JSON is a number, which"),
        (notebook({"source": "x"}).encode(), r"cells\[0\] in its JSON has no cell_type"),
        (notebook(code("x"), code(5)).encode(), r"cells\[1\].source in its JSON is a number"),
        (b'{"nbformat": 4,\n "cells": [}', "its JSON ends or goes wrong at line 2, column 12"),
        (b'{"metadata": ' + b"[" * 100_000, "its JSON is nested too deeply"),
    ],
)
def test_what_is_damaged_in_a_notebook_is_told_in_plain_words(data, what):
    with pytest.raises(Unreadable, match=f"^The notebook is damaged: {what}.*opens in Jupyter.$"):
        read_source("a.ipynb", data)
