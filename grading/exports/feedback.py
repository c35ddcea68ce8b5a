"""What a page of feedback is called so that a platform's upload of many files takes it."""

from pathlib import PurePosixPath

from grading.pages import page_name
from grading.results.lines import Result

# Those that find whose a file is by the names in their own download: Canvas by its numbers
# (app/models/abstract_assignment.rb), Moodle by a folder (mod/assign/feedback/file).
UPLOADS = ("Canvas", "Moodle", "Brightspace")
PAGE = "feedback.html"


def feedback_name(result: Result, platform: str) -> str:
    """Return the path of a submission's page in a zip: plain, or as the ``platform`` reads it.

    In a folder of the student's own that is a file beside the others; else the file's name with
    another ending.
    """
    if not result.files or platform not in UPLOADS:
        return page_name(result.submission)
    path = PurePosixPath(next(iter(result.files.values())))
    if path.parent.parts and platform != "Canvas":
        return str(path.parent / PAGE)
    return f"{path.stem}.html"
