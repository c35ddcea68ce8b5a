"""What students hand in is read as data: whatever it holds, nbgrader gets a valid notebook."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nbgrader")

import nbformat

from grading.nbgrader.notebooks import CELLS_LIMIT, REASON, TEXT_LIMIT, read_submitted
from grading.parsing.source import read_source

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2)
    ),
    max_leaves=4,
)
MARKS = st.fixed_dictionaries(
    {"grade": st.booleans(), "solution": st.booleans()},
    optional={
        "grade_id": st.sampled_from(["sigmoid", "train"]) | ANYTHING,
        "cell_type": st.sampled_from(["code", "markdown"]) | ANYTHING,
        "points": ANYTHING,
        "schema_version": ANYTHING,
    },
)
CELLS = st.fixed_dictionaries(
    {
        "cell_type": st.sampled_from(["code", "markdown", "raw", "heading"]),
        "source": st.sampled_from(["x = 1", "\ud800", ["y = 2\r\n", "z"]]) | st.text(max_size=9),
        "metadata": st.fixed_dictionaries({}, optional={"nbgrader": MARKS, "tags": ANYTHING}),
    },
    optional={
        "id": st.sampled_from(["a", "b", "cell-1"]) | ANYTHING,
        "outputs": ANYTHING,
        "attachments": st.dictionaries(st.text(max_size=5), ANYTHING, max_size=2),
    },
)


@given(cells=st.lists(CELLS, max_size=5), metadata=ANYTHING)
def test_whatever_is_in_a_notebook_comes_out_as_a_valid_one(tmp_path_factory, cells, metadata):
    path = tmp_path_factory.mktemp("submitted") / "one-neuron.ipynb"
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": metadata}))
    read = read_submitted(path)
    nbformat.validate(read, relax_add_props=True)
    text = nbformat.writes(read).encode("utf-8")
    if REASON not in read.metadata:
        assert read_source(path.name, text) == read_source(path.name, path.read_bytes())


def test_a_link_is_not_followed(tmp_path):
    secret = tmp_path / "solution.ipynb"
    secret.write_text(json.dumps({"cells": [], "nbformat": 4}))
    link = tmp_path / "one-neuron.ipynb"
    link.symlink_to(secret)
    assert "link" in read_submitted(link).metadata[REASON]


def test_far_more_than_a_person_writes_is_refused_or_shortened(tmp_path):
    code = {"cell_type": "code", "source": "x = 1", "metadata": {}}
    path = tmp_path / "one-neuron.ipynb"
    path.write_text(json.dumps({"cells": [code] * (CELLS_LIMIT + 1), "nbformat": 4}))
    assert f"more than {CELLS_LIMIT} cells" in read_submitted(path).metadata[REASON]
    long = {"cell_type": "markdown", "source": "[" * (TEXT_LIMIT + 1), "metadata": {}}
    path.write_text(json.dumps({"cells": [code, long], "nbformat": 4}))
    assert f"it had {TEXT_LIMIT + 1} characters" in read_submitted(path).cells[1].source
