"""Drive Chromium without a window, as a person would."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

LAPTOP, PHONE = (1280, 800), (320, 640)
NEEDED = ("chromium", "chromedriver")


def missing() -> list[str]:
    """Return the missing programs, which Debian packages as chromium and chromium-driver."""
    return [name for name in NEEDED if shutil.which(name) is None]


@contextmanager
def browser(size: tuple[int, int] = LAPTOP) -> Iterator[Chrome]:
    """Start a browser with pages of a width and height in CSS pixels, at twice the resolution."""
    program, driver = (shutil.which(name) for name in NEEDED)
    assert program and driver
    options = ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--disable-background-networking",
    ):
        options.add_argument(argument)
    chrome = Chrome(options=options, service=Service(executable_path=driver))
    try:
        resize(chrome, size)
        yield chrome
    finally:
        chrome.quit()


def resize(chrome: Chrome, size: tuple[int, int]) -> None:
    """Set the size of pages, which may be narrower than a window can be."""
    width, height = size
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False},
    )


def open_html(chrome: Chrome, fragment: str, folder: Path, *, dark: bool = False) -> None:
    """Open a page that holds an HTML fragment, light or dark; ``folder`` is for its file."""
    colours = "background: #111; color: #e0e0e0" if dark else "background: #fff; color: #212121"
    page = folder / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="{colours}; margin: 12px;'
        f' font: 14px/1.4 sans-serif">{fragment}',
        encoding="utf-8",
    )
    chrome.get(page.as_uri())


def picture_of(chrome: Chrome, *elements: WebElement, margin: float = 8) -> bytes:
    """Return a PNG of the part of the page that holds the elements."""
    boxes = [each.rect for each in elements]
    left = max(min(box["x"] for box in boxes) - margin, 0)
    top = max(min(box["y"] for box in boxes) - margin, 0)
    right = max(box["x"] + box["width"] for box in boxes) + margin
    bottom = max(box["y"] + box["height"] for box in boxes) + margin
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top, "scale": 1}
    shot = chrome.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    return base64.b64decode(shot["data"])
