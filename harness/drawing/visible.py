"""Make text from others safe to show: nothing in it acts, and nothing hides."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# Marks on one letter, as many as any language stacks (Hebrew with its accents, Burmese, Tibetan).
MOST_MARKS = 4
# Letters, marks and a symbol that leave no ink, though Unicode does not count them as format.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U00016fe4"
)
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_AS_TEXT, _AS_PICTURE = "\ufe0e", "\ufe0f"


def visible(text: str) -> str:
    """Return the text with everything that would act or hide escaped, as Python escapes it.

    An escape becomes ``\\x1b``, a right-to-left override ``\\u202e``; so do combining marks on one
    letter beyond `MOST_MARKS`. Everything that languages and emoji are written with stays. Line
    breaks stay; a tab becomes four spaces. The result can be printed, and is allowed in XML.
    """
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return "\n".join("".join(_shown(line)) for line in lines)


def visible_line(text: str) -> str:
    """Return the same on one line, for names and table cells: line breaks are escaped too."""
    return visible(text).replace("\n", "\\n")


def _shown(line: str) -> Iterator[str]:
    if all(map(_is_plain, set(line))):
        yield line
        return
    marks = MOST_MARKS  # on nothing, a mark would sit on what stands before the text
    for place, character in enumerate(line):
        if _is_plain(character):
            marks = 0
            yield character
        elif unicodedata.category(character) in ("Mn", "Me") and not _is_blank(character):
            marks += 1
            yield character if marks <= MOST_MARKS else _escaped(character)
        elif _belongs(line, place):
            yield character
        else:
            yield _escaped(character)


@lru_cache(maxsize=4096)
def _is_plain(character: str) -> bool:
    """Return whether the character is visible by itself in any context."""
    hides = unicodedata.category(character)[0] == "C" or _is_blank(character)
    return not hides and unicodedata.category(character) not in ("Zl", "Zp", "Mn", "Me")


def _is_blank(character: str) -> bool:
    variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return variation or character in _BLANK


def _belongs(line: str, place: int) -> bool:
    """Return whether a joiner, or a text or emoji selector, has an effect there."""
    character = line[place]
    before, after = line[place - 1 : place] or " ", line[place + 1 : place + 2] or " "
    if character in (_AS_TEXT, _AS_PICTURE):
        return unicodedata.category(before) == "So"
    if character not in (_NON_JOINER, _JOINER):
        return False
    cursive = unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
    if cursive or unicodedata.combining(before) == 9:  # a virama, which joins letters of India
        return True
    picture = unicodedata.category(before) in ("So", "Sk") or before in (_AS_TEXT, _AS_PICTURE)
    return character == _JOINER and picture and unicodedata.category(after) == "So"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
