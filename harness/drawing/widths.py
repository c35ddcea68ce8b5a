"""How wide text is, on every machine: fonts differ, so that text is fitted to these widths.

They lie between those of narrow fonts (Times, Arial) and of wide ones (DejaVu).
"""

import unicodedata
from collections.abc import Mapping

MONOSPACE = 0.602
# In parts of the size; those of letters that are not named come last.
_SERIF: Mapping[str, float] = {
    **dict.fromkeys("\u2009", 0.2),
    **dict.fromkeys(" ·.,|", 0.28),
    **dict.fromkeys("jlit", 0.31),
    **dict.fromkeys("()[]f/", 0.36),
    **dict.fromkeys("rs", 0.44),
    **dict.fromkeys("zcekvxy∂", 0.5),
    **dict.fromkeys("CKTAΣ", 0.7),
    **dict.fromkeys("+−=±<>≤≥≠√⊙Nw", 0.78),
    **dict.fromkeys("mMW", 0.88),
}
_SANS: Mapping[str, float] = {
    **dict.fromkeys("ijl|", 0.25),
    **dict.fromkeys(" .,:;()[]ft/I", 0.32),
    **dict.fromkeys("rs-", 0.42),
    **dict.fromkeys("wCDGHNOQRU", 0.74),
    **dict.fromkeys("mMW=+−<>", 0.86),
}
_OTHERS, _WIDE = 0.58, 1.0


def serif_width(text: str, size: float) -> float:
    """Return the width of text in letters of mathematics."""
    return size * sum(_width(character, _SERIF) for character in text)


def sans_width(text: str, size: float) -> float:
    """Return the width of plain words."""
    return size * sum(_width(character, _SANS) for character in text)


def _width(character: str, known: Mapping[str, float]) -> float:
    if character in known or character.isascii():
        return known.get(character, _OTHERS)
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _OTHERS
