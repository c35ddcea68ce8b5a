"""The command ``backprop``: parses, calls, prints."""

from __future__ import annotations

import io
import sys

import click

from grading.cli.check import check
from grading.cli.course import doctor, release, verify
from grading.cli.export import export
from grading.cli.grade import grade, override, replay, similar
from grading.cli.report import report

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backprop-harness", prog_name="backprop")
def main() -> None:
    """Checks and grades backward passes that students wrote."""
    # A console that cannot show ∂ or ✓ shows a question mark rather than a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


for command in (check, grade, replay, report, override, similar, release, verify, export, doctor):
    main.add_command(command)
