"""``backprop start``: a handout, where a student is."""

from pathlib import Path

import click

from harness.course.assignments import SHIPPED


@click.command()
@click.argument("name", metavar="[NAME]", type=click.Choice(SHIPPED), required=False)
def start(name: str | None) -> None:
    """Put a handout into a folder of its name, or list the handouts.

    Files that are there stay as they are.
    """
    from grading.courses.start import handouts, start_handout

    if name is None:
        for each, title in handouts():
            click.echo(f"{each:14}{title}")
        return
    for path in start_handout(name, Path()):
        click.echo(f"Wrote {path}")
    click.echo(f"Open {name}/{name}.ipynb in JupyterLab; `backprop check {name}` checks it too.")
