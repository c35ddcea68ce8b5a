"""Results as JUnit XML, which all systems for continuous integration read.

A suite is a submission, a case a check. The format is that of Jenkins' junit-10 schema.
"""

from collections.abc import Iterable

from grading.exports.files import message_of
from grading.pages.render import render
from grading.results.lines import Result, checks_told


def junit(results: Iterable[Result]) -> bytes:
    """Return the results as an XML document, UTF-8, with the messages that students read."""
    suites = [(result, checks_told(result)) for result in results]
    every = [check for _, checks in suites for check in checks]
    values = {"suites": suites, "every": every, "message_of": message_of}
    return render("junit.xml", "grading.exports", **values).encode() + b"\n"
