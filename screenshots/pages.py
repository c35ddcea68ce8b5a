"""Take the pages that `backprop grade` writes: the one of a class, and a student's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from selenium.webdriver.support.ui import WebDriverWait

from grading.pages.names import page_address
from screenshots.browser import LAPTOP, PHONE, picture_of, resize
from screenshots.lab import ROOT
from screenshots.studio import Studio, shot

CLASS = ROOT / "tests" / "sample_class" / "many-neurons" / "submissions"
STUDENT = "wrong-swapped-returns"


@shot("class-page")
def class_page(studio: Studio) -> bytes:
    """Take the top of a sample class's page."""
    studio.chrome.get((_report(studio) / "index.html").as_uri())
    resize(studio.chrome, (1040, 1000))
    top = studio.chrome.get_screenshot_as_png()
    resize(studio.chrome, LAPTOP)
    return top


@shot("student-page")
def student_page(studio: Studio) -> bytes:
    """Take a student's page on a phone."""
    resize(studio.chrome, PHONE)
    address = f"{(_report(studio) / 'page.html').as_uri()}#student/{page_address(STUDENT)}"
    studio.chrome.get(address)
    WebDriverWait(studio.chrome, 20).until(lambda chrome: chrome.find_elements("tag name", "h1"))
    # As it is when it has been sent.
    studio.chrome.execute_script("document.getElementById('bar').hidden = true")
    shown = picture_of(studio.chrome, studio.chrome.find_element("css selector", "body"), margin=0)
    resize(studio.chrome, LAPTOP)
    return shown


def _report(studio: Studio) -> Path:
    """Return the folder of a sample class's report; the class is graded once."""
    out = studio.folder / "marks"
    if not out.exists():
        call = ["grade", CLASS, "--assignment", "many-neurons", "--out", out]
        command = [sys.executable, "-m", "grading.cli", *map(str, call)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return out / "report"
