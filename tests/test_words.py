"""What people read holds no phrase that is known to read oddly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.messages import PROJECT, sources, texts

LIST = Path(__file__).with_name("banned_phrases.txt")
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]


def banned():
    """Return the banned phrases, compiled, with what to write instead."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" → ") for line in lines if line and not line.startswith("#")]
    return {re.compile(phrase.replace(" ", r"\s+"), re.I): better for phrase, better in pairs}


BANNED = banned()


def banned_in(text):
    """Return the banned phrases in a text, with how many lines down they are and what to write."""
    return [
        (text.count("\n", 0, match.start()), f"{match[0]!r}; write: {better}")
        for phrase, better in BANNED.items()
        for match in phrase.finditer(text)
    ]


@pytest.mark.parametrize("room", ["harness", "grading"])
def test_code_holds_no_banned_phrase(room):
    inside = [path for path in sources() if path.is_relative_to(PROJECT / room)]
    found = [
        f"{text.place}: {said}"
        for path in inside
        for text in texts(path)
        for _, said in banned_in(text.text)
    ]
    assert len(inside) > 50
    assert found == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_hold_no_banned_phrase(path):
    found = banned_in(path.read_text(encoding="utf-8"))
    assert [f"{path.name}:{line + 1}: {said}" for line, said in found] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--points nan is no number of points.", "is no number"),
        ("A submission of\nwhom nobody knows", "of\nwhom"),
        ("There is no file, and it is no longer needed.", None),
    ],
)
def test_a_phrase_is_found_across_lines_and_what_is_right_is_not(text, said):
    assert [each.split("; ")[0] for _, each in banned_in(text)] == ([repr(said)] if said else [])
