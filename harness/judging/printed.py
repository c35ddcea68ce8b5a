"""What a stage has printed for the example that messages quote, and how much more for others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.candidate.operations import (
    NOTHING_PRINTED,
    Backward,
    Forward,
    Operation,
    Output,
    Raised,
    Reply,
    Returns,
)
from harness.course.numbers import plural
from harness.course.report import Check
from harness.language import tr
from harness.probes import StageContext
from harness.probes.context import circumstances

MOST_LINES = 12


class PrintedLines:
    """The number of lines that each stage has printed in answer to public questions."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._stages: dict[int, str] = {}

    def count(self, operations: Sequence[Operation], replies: Sequence[Reply]) -> None:
        """Count the lines that were printed beside the replies."""
        for operation, reply in zip(operations, replies, strict=True):
            match operation:
                case Forward(handle, stage):
                    self._stages[handle] = stage
                case Backward(handle):
                    stage = self._stages.get(handle, "")
                case _:
                    continue
            self._of[stage] += _printed(reply)[1]

    def told(self, context: StageContext, checks: Sequence[Check]) -> str:
        """Return what the stage has printed for the example, "" if nothing.

        Of several upstreams it is the one that the first failed check quotes.
        """
        quoted = (each.case for each in checks if each.case and each.outcome != "passed")
        example = context.cases[0]
        facts = next((each for each in quoted if each.get("seed") == example.seed), None) or {}
        call = context.example[1][facts.get("upstream", 0)]
        parts = [_printed(call.forward), _printed(call.backward)]
        text = "".join(text for text, _ in parts).rstrip()
        more = self._of[context.stage.name] - sum(lines for _, lines in parts)
        lines = text.split("\n")
        if not text:
            return ""
        cut = ["…"] if lines[MOST_LINES:] or sum(x for _, x in parts) > len(lines) else []
        where = circumstances(context, example, call.index)
        said = [tr("In the example {where}, it prints:").format(where=where)]
        said += [*lines[:MOST_LINES], *cut]
        if more > 0:
            said.append(tr("({more} for other inputs)").format(more=plural(more, "more line")))
        return "\n".join(said)


def _printed(reply: Reply) -> tuple[str, int]:
    return reply.printed if isinstance(reply, Output | Returns | Raised) else NOTHING_PRINTED
