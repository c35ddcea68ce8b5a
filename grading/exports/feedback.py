"""What a page of feedback is called so that a platform's upload of many files takes it."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from grading.pages import page_name
from grading.results.lines import Result

# Those that find whose a file is by the names in their own download: Canvas by its numbers
# (app/models/abstract_assignment.rb), Moodle by a folder (mod/assign/feedback/file).
UPLOADS = ("Canvas", "Moodle", "Brightspace")
PAGE = "feedback.html"


def upload_of(results: Iterable[Result], platform: str) -> str:
    """Return the platform if its upload can take the pages, "" if not.

    Moodle's would give a group's page to the participant whose number is the group's.
    """
    groups = any(len(each.students or ()) > 1 for each in results)
    return "" if platform not in UPLOADS or (groups and platform == "Moodle") else platform


def feedback_name(result: Result, platform: str) -> str:
    """Return the path of a submission's page in a zip: plain, or as the ``platform`` reads it.

    In a folder of the student's own that is a file beside the others; else the file's name with
    another ending.
    """
    if not result.files or not platform:
        return page_name(result.submission)
    path = PurePosixPath(next(iter(result.files.values())))
    if path.parent.parts and platform != "Canvas":
        return str(path.parent / PAGE)
    return f"{path.stem}.html"
