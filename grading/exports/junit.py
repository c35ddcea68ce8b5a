"""Results as JUnit XML, which every system for continuous integration reads.

A suite is a submission, a case a check. The format is that of Jenkins' junit-10 schema.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from grading.results.lines import Result, checks_told
from harness.course.report import Check
from harness.show.visible import visible, visible_line


def junit(results: Iterable[Result]) -> bytes:
    """The results as an XML document, UTF-8, with the messages that students read."""
    suites = [_suite(result) for result in results]
    root = ET.Element("testsuites", name="backprop")
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.extend(suites)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(result: Result) -> ET.Element:
    cases = [_case(result, check) for check in checks_told(result)]
    suite = ET.Element(
        "testsuite",
        name=visible_line(result.submission),
        tests=str(len(cases)),
        failures=str(_count(cases, "failure")),
        errors=str(_count(cases, "error")),
        skipped=str(_count(cases, "skipped")),
        time=f"{result.seconds.wall:.3f}",
    )
    facts = ET.SubElement(suite, "properties")
    for name, value in (
        ("assignment", result.assignment),
        ("status", result.status),
        ("score", "" if result.score is None else f"{result.score:g}"),
        ("max_score", f"{result.max_score:g}"),
    ):
        ET.SubElement(facts, "property", name=name, value=value)
    suite.extend(cases)
    return suite


def _case(result: Result, check: Check) -> ET.Element:
    title = f"{check.title} [{check.points:g} of {check.max_points:g}]"
    place = f"{result.assignment}.{check.stage or check.id.partition('/')[0]}"
    case = ET.Element("testcase", name=visible_line(title), classname=visible_line(place))
    case.set("time", "0")
    match check.outcome:
        case "failed" | "error":
            tag = "failure" if check.outcome == "failed" else "error"
            said = visible(check.message or check.title)
            told = ET.SubElement(case, tag, message=said.split("\n")[0], type=check.id)
            told.text = said
        case "not_run":
            ET.SubElement(case, "skipped", message=f"waits for {check.waits_for}")
    return case


def _count(cases: Iterable[ET.Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)
