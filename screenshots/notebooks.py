"""Take what a student sees in JupyterLab: a failed check, and a training."""

from __future__ import annotations

from screenshots.browser import PHONE, open_html, picture_of, resize
from screenshots.studio import Studio, shot, solutions, with_wrong_sigmoid

TALL = (1120, 1100)


@shot("check-wrong")
def check_wrong(studio: Studio) -> bytes:
    """Take a wrong sigmoid and the report of its check."""
    return _wrong(studio, dark=False)


@shot("check-wrong-dark")
def check_wrong_dark(studio: Studio) -> bytes:
    """Take a wrong sigmoid and the report of its check on a dark page."""
    return _wrong(studio, dark=True)


@shot("training")
def training(studio: Studio) -> bytes:
    """Take the trained network that reads digits."""
    resize(studio.chrome, TALL)
    notebook = studio.notebook
    notebook.theme(dark=False)
    notebook.paste("sigmoid", solutions("many-neurons")["sigmoid"])
    notebook.run("sigmoid", "train")
    return picture_of(studio.chrome, notebook.element("train"), margin=0)


@shot("chain-phone")
def chain_phone(studio: Studio) -> bytes:
    """Take a chain with several wrong edges on a page as wide as a phone."""
    from harness.course.report import Check, Diagnosis, Report
    from harness.many_neurons import MANY_NEURONS
    from harness.show import chain_picture

    wrong = {
        "w": ("g.T @ a_prev / N", "gᵀ a_prev / N"),
        "z": ("g * z * (1 - z)", "g ⊙ z ⊙ (1 − z)"),
    }
    checks = []
    for stage in MANY_NEURONS.stages:
        for name in stage.inputs:
            formula, told = wrong.get(name, ("", ""))
            diagnosis = Diagnosis(f"grad_{name}", "", formula, "", "") if formula else None
            checks.append(
                Check(
                    f"{stage.slug}/gradient/{name}",
                    stage.name,
                    "",
                    "failed" if formula else "passed",
                    0.0,
                    1.0,
                    message=f"Your ∂C/∂{name} behaves like {told}.",
                    diagnosis=diagnosis,
                )
            )
    chain = chain_picture(MANY_NEURONS, Report(MANY_NEURONS.name, tuple(checks)))
    open_html(studio.chrome, chain.svg, studio.folder)
    resize(studio.chrome, PHONE)
    return picture_of(studio.chrome, studio.chrome.find_element("css selector", "svg"), margin=12)


def _wrong(studio: Studio, *, dark: bool) -> bytes:
    resize(studio.chrome, TALL)
    notebook = studio.notebook
    notebook.theme(dark=dark)
    notebook.paste("sigmoid", with_wrong_sigmoid(solutions("many-neurons")["sigmoid"]))
    notebook.run("sigmoid", "check-sigmoid")
    cells = [notebook.element("sigmoid"), notebook.element("check-sigmoid")]
    # Hide the cell for experiments between the two.
    studio.chrome.execute_script(
        "arguments[0].scrollIntoView();"
        "for (const cell of document.querySelectorAll('.jp-Cell'))"
        "  if (cell.compareDocumentPosition(arguments[0]) & 2 &&"
        "      cell.compareDocumentPosition(arguments[1]) & 4) cell.style.display = 'none';",
        *cells,
    )
    return picture_of(studio.chrome, *cells, margin=0)
