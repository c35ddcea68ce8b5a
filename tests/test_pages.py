"""Pages show what is on record, to each reader what is theirs, and text as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.pages import page_name

NAMES = (
    "alice", "Alice", "ALICE", "alice.", "alice ", " alice", "ali/ce", "../alice", "..", ".", "",
    "con", "CON", "con.html", "nul", "com1", "-x", "a\nb", 'a"b', "a'b", "<b>", "a?b#c", "100%",
    "é", "e\u0301", "e", "张伟", "\u202ealice", "alice\u200f", "\ud800", "x" * 60, "x" * 61,
    "x" * 5000, "X" * 5000,
)  # fmt: skip


def test_a_plain_name_stays_as_it_is():
    assert page_name("alice-2_b") == "alice-2_b.html"


def test_no_two_names_share_a_file():
    assert len({page_name(name).casefold() for name in NAMES}) == len(NAMES)


@given(st.text(st.characters()) | st.sampled_from(NAMES))
def test_every_name_gives_a_file_name_that_is_safe_everywhere(name):
    file = page_name(name)
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*\.html", file) and len(file) < 100
    assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)\.", file)
    assert page_name(name) == file


@given(st.text(), st.text())
def test_different_names_give_different_files(one, other):
    assert (page_name(one) == page_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["alice.0123456789abcdef", page_name("Alice")[:-5]])
def test_a_name_that_looks_like_another_ones_file_gets_its_own(name):
    assert page_name(name) != f"{name}.html"
