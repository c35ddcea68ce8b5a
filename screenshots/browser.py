"""Chromium without a window, driven as a person would drive it."""

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
    """Which programs are not here; Debian has them as chromium and chromium-driver."""
    return [name for name in NEEDED if shutil.which(name) is None]


@contextmanager
def browser(size: tuple[int, int] = LAPTOP) -> Iterator[Chrome]:
    """A browser whose pages have the given width and height in pixels, drawn twice as fine."""
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
    """Gives pages another size; phones' widths too, which windows cannot have."""
    width, height = size
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False},
    )


def open_html(chrome: Chrome, fragment: str, folder: Path, *, dark: bool = False) -> None:
    """Shows a piece of HTML on a page of its own, light or dark."""
    colours = "background: #111; color: #e0e0e0" if dark else "background: #fff; color: #212121"
    page = folder / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="{colours}; margin: 12px;'
        f' font: 14px/1.4 sans-serif">{fragment}',
        encoding="utf-8",
    )
    chrome.get(page.as_uri())


def picture_of(chrome: Chrome, *elements: WebElement, margin: float = 8) -> bytes:
    """A PNG of the part of the page that holds the elements."""
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
