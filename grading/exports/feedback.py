"""A zip of feedback pages, one a student."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

from grading.pages import page_name, student_page
from grading.results.lines import Result
from harness.course.settings import Settings

# Zips have no times of their own: the same results give the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def feedback_zip(results: Iterable[Result], settings: Settings) -> bytes:
    """The zip, with a page for each result, at the assignment's level of feedback."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for result in results:
            info = zipfile.ZipInfo(page_name(result.submission), NO_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            file.writestr(info, student_page(result, settings))
    return data.getvalue()
