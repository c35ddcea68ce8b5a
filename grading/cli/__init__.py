"""The command ``backprop``: parse arguments, call, print."""

import atexit
import gc
import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from grading.cli.check import check
from grading.cli.common import UNUSABLE
from grading.cli.course import doctor, new, release, verify
from grading.cli.export import export
from grading.cli.grade import grade, merge, override, replay, similar
from grading.cli.report import report
from grading.cli.start import start
from grading.errors import refused_as
from harness.errors import did_you_mean

__all__ = ["main"]


class _Refused(click.ClickException):
    exit_code = UNUSABLE


class _Commands(click.Group):
    """End a command that fails because of the user or the system with one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        with refused_as(_Refused):
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = did_you_mean(args[0], self.commands)
            raise click.UsageError(error.message + near, ctx) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backprop-harness", prog_name="backprop")
def main() -> None:
    """Check and grade backward passes that students wrote."""
    _fill_closed_streams()
    # At exit, collecting what torch has allocated would take 0.3 s.
    atexit.register(gc.freeze)
    # A console that cannot show ∂ or ✓ shows a question mark rather than a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fill_closed_streams() -> None:
    """Open the null device for closed standard streams, before a file takes their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


for command in (
    start,
    check,
    grade,
    merge,
    replay,
    report,
    override,
    similar,
    new,
    release,
    verify,
    export,
    doctor,
):
    main.add_command(command)
