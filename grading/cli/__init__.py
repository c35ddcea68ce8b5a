"""The command ``backprop``: parses, calls, prints."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from grading.cli.check import check
from grading.cli.common import Unusable
from grading.cli.course import doctor, release, verify
from grading.cli.export import export
from grading.cli.grade import grade, override, replay, similar
from grading.cli.report import report
from grading.faults import refusal

__all__ = ["main"]


class _Commands(click.Group):
    """Say what the system refuses in a sentence, whichever command asks for it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if not isinstance(error.filename, str):
                raise
            raise Unusable(refusal(error, "", "used")) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backprop-harness", prog_name="backprop")
def main() -> None:
    """Checks and grades backward passes that students wrote."""
    # A console that cannot show ∂ or ✓ shows a question mark rather than a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


for command in (check, grade, replay, report, override, similar, release, verify, export, doctor):
    main.add_command(command)
