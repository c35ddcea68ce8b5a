"""Packs: the pages of many submissions in one file each, which page.html opens in a browser.

A page by itself is some 20 kB, most of it the same on all; in a pack, two take 3 kB. A pack is a
script with one call, as a browser lets a page that was opened from a disk run files, but not read
them.
"""

import base64
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

PACKS, VIEWER = "pages", "page.html"
ADDRESS = re.compile(r"([0-9a-f]{2})/([a-z0-9_][a-z0-9_.-]*)")
_CALL = re.compile(rb'pack\("[0-9a-f]{2}","([A-Za-z0-9+/=]*)"\);\n')


class Pages(NamedTuple):
    """The two pages of a submission, as HTML that needs no other file."""

    staff: str
    student: str


class _Content(msgspec.Struct):
    """The pages for staff and those for students, by key.

    Those of a kind stand together, so that what they share is near enough to be found.
    """

    staff: dict[str, str]
    student: dict[str, str]


def pack_at(report: Path, name: str) -> Path:
    """Return the file of a pack."""
    return report / PACKS / f"{name}.js"


def packed(name: str, pages: Mapping[str, Pages]) -> bytes:
    """Return a pack that holds the pages, by key."""
    keys = sorted(pages)
    content = _Content(
        {key: pages[key].staff for key in keys}, {key: pages[key].student for key in keys}
    )
    data = base64.b64encode(zlib.compress(msgspec.json.encode(content)))
    return b'pack("%s","%s");\n' % (name.encode(), data)


def unpacked(path: Path) -> dict[str, Pages]:
    """Return the pages in a pack by key; none if there is no such file, or it is damaged."""
    with suppress(FileNotFoundError, zlib.error, ValueError):
        if call := _CALL.fullmatch(path.read_bytes()):
            content = msgspec.json.decode(zlib.decompress(base64.b64decode(call[1])), type=_Content)
            return {
                key: Pages(staff, content.student[key])
                for key, staff in content.staff.items()
                if key in content.student
            }
    return {}
