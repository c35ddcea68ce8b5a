"""Results as JUnit XML, which all systems for continuous integration read.

A suite is a submission, a case a check. The format is that of Jenkins' junit-10 schema.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from grading.exports.files import message_of
from grading.pages.render import streamed
from grading.results.lines import Result, checks_told
from harness.course.report import Check


def junit(results: Sequence[Result]) -> Iterator[bytes]:
    """Yield the parts of an XML document, UTF-8, with the messages that students read."""
    every: Counter[str] = Counter()
    for result in results:
        every += _outcomes(checks_told(result))
    suites = ((result, checks_told(result)) for result in results)
    values = {"suites": suites, "every": every, "outcomes": _outcomes, "message_of": message_of}
    for part in streamed("junit.xml", "grading.exports", **values):
        yield part.encode()
    yield b"\n"


def _outcomes(checks: Iterable[Check]) -> Counter[str]:
    return Counter(check.outcome for check in checks)
