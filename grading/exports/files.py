"""What exports have in common: templates, zips, and what to say of a check."""

import io
import zipfile
from collections.abc import Collection, Iterable
from importlib.resources import files
from typing import IO

from harness.course.report import Check
from harness.drawing.visible import visible
from harness.show.outline import needed

# Zips have no times of their own: the same files give the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def filled(template: str, **values: str) -> str:
    """Return a template's text with each ``@NAME@`` replaced by the value of that name."""
    text = files("grading.exports").joinpath("templates", template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", value)
    return text


def zipped(entries: Iterable[tuple[str, str | bytes]], programs: Collection[str] = ()) -> bytes:
    """Return a zip of the entries, by name; those named in ``programs`` can be executed."""
    data = io.BytesIO()
    write_zip(data, entries, programs)
    return data.getvalue()


def write_zip(
    file: IO[bytes], entries: Iterable[tuple[str, str | bytes]], programs: Collection[str] = ()
) -> None:
    """Write what `zipped` returns, one entry after the other."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, NO_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o755 if name in programs else 0o644) << 16
            archive.writestr(info, content)


def message_of(check: Check, checks: Iterable[Check]) -> str:
    """Return what a student reads of one of the checks: its message, or which it depends on."""
    if check.outcome == "not_run":
        return f"waits for {needed(check.waits_for or '', checks)}"
    return visible(check.message)
