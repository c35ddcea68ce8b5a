"""Name the file of a submission's page: safe on every system, and different for every name."""

import hashlib
import re
import unicodedata

LONGEST = 60
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]*")
# Names that Windows keeps for devices, whatever ending they have.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])")


def page_name(submission: str) -> str:
    """Return the file name of a submission's page, without its folder: ``alice.html``."""
    return f"{page_key(submission)}.html"


def page_address(submission: str) -> str:
    """Return where a submission's pages are in a report: the pack, and their key in it."""
    key = page_key(submission)
    return f"{hashlib.sha256(key.encode()).hexdigest()[:2]}/{key}"


def page_key(submission: str) -> str:
    """Return what a submission's pages are called.

    A plain name is kept. Of any other the plain characters are kept, for people, and a hash is
    added: no two names share a file, not even where case is ignored.
    """
    plain = _PLAIN.fullmatch(submission) and not _DEVICE.fullmatch(submission)
    if plain and len(submission) <= LONGEST:
        return submission
    letters = unicodedata.normalize("NFKD", submission[: 4 * LONGEST]).encode("ascii", "ignore")
    kept = re.sub(r"[^a-z0-9_]+", "-", letters.decode().lower()).strip("-")[:LONGEST].strip("-")
    kept = f"page-{kept}" if _DEVICE.fullmatch(kept) else kept or "page"
    # A plain name has no dot, so it is never one of these.
    mark = hashlib.sha256(submission.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{kept}.{mark}"
