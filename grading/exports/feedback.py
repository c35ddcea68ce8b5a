"""A zip of feedback pages, one a student."""

from collections.abc import Iterable

from grading.exports.files import zipped
from grading.pages import page_name, student_page
from grading.results.lines import Result
from harness.course.settings import Settings


def feedback_zip(results: Iterable[Result], settings: Settings) -> bytes:
    """Return the zip, with a page for each result, at the assignment's level of feedback."""
    return zipped((page_name(each.submission), student_page(each, settings)) for each in results)
