"""Text that others wrote, made safe to show: nothing in it acts, nothing in it hides."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """The text with every character that would act or hide written out, as Python writes it.

    An escape becomes ``\\x1b``, a right-to-left override ``\\u202e``. Line breaks stay; a tab
    becomes four spaces. What is left can be printed, and is allowed in XML.
    """
    if text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_shown, line)) for line in lines)


def visible_line(text: str) -> str:
    """The same on one line, for names and cells of a table: line breaks are written out too."""
    return visible(text).replace("\n", "\\n")


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category.startswith("C") or category in ("Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character
