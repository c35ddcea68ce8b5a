"""Run JupyterLab in a folder, and work in a notebook that is open in it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 120  # seconds, for anything that is waited for
SETTINGS: Mapping[str, Mapping[str, object]] = {
    # No requests to the network.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # All cells are in the page, also those that are not visible.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# The beginning of the scripts below: the notebook, and its cells by their ids.
_NOTEBOOK = """
const done = arguments[arguments.length - 1];
const panel = window.jupyterapp.shell.currentWidget;
const cells = panel.content.widgets;
const find = id => cells.find(cell => cell.model.sharedModel.id === id);
"""


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Serve a folder with a new JupyterLab, and yield the address of a file in it, by its name."""
    own = folder / ".lab"
    for name, values in SETTINGS.items():
        file = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    token, port = secrets.token_hex(16), _free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--expose-app-in-browser", f"--ServerApp.root_dir={folder}"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        f"--IdentityProvider.token={token}",
    ]
    places = {
        "JUPYTERLAB_SETTINGS_DIR": own / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": own / "workspaces",
        "JUPYTER_CONFIG_DIR": own / "config",
        "JUPYTER_RUNTIME_DIR": own / "runtime",
        "IPYTHONDIR": own / "ipython",
        "PYTHONPATH": ROOT,
    }
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    environment.pop("MPLBACKEND", None)
    log = (own / "log").open("w+")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api?token={token}", process, own / "log")
        yield f"{address}/lab/tree/{{}}?reset&token={token}"
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        log.close()


@dataclass(frozen=True)
class Notebook:
    """A notebook that is open in JupyterLab; cells are named by their ids."""

    chrome: Chrome

    def paste(self, cell: str, source: str) -> None:
        """Replace the source of a cell."""
        self._run(
            "find(arguments[0]).model.sharedModel.setSource(arguments[1]); done();", cell, source
        )

    def source(self, cell: str) -> str:
        """Return the source of a cell."""
        return str(self._run("done(find(arguments[0]).model.sharedModel.getSource());", cell))

    def run(self, *cells: str) -> None:
        """Run cells one after the other, and wait until they are done."""
        for cell in cells:
            self._run(
                """
                panel.content.activeCellIndex = cells.indexOf(find(arguments[0]));
                window.jupyterapp.commands.execute('notebook:run-cell').then(() => done());
                """,
                cell,
            )

    def run_all(self) -> None:
        """Restart the kernel and run all cells."""
        self._run(
            """
            panel.sessionContext.session.kernel.restart()
              .then(() => window.jupyterapp.commands.execute('notebook:run-all-cells'))
              .then(() => done());
            """
        )

    def outputs(self, cell: str) -> list[dict[str, Any]]:
        """Return a cell's outputs, as they are saved."""
        found: list[dict[str, Any]] = self._run(
            "done(find(arguments[0]).model.sharedModel.outputs);", cell
        )
        return found

    def element(self, cell: str) -> WebElement:
        """Return the element of a cell, scrolled into view."""
        found: WebElement = self._run(
            "const it = find(arguments[0]).node; it.scrollIntoView(); done(it);", cell
        )
        return found

    def output(self, cell: str) -> WebElement:
        """Return the element of a cell's output."""
        return self.element(cell).find_element(By.CSS_SELECTOR, ".jp-Cell-outputArea")

    def theme(self, *, dark: bool) -> None:
        """Switch to the light or the dark theme."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self._run(
            """
            window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]})
              .then(() => setTimeout(done, 1000));
            """,
            name,
        )

    def _run(self, script: str, *arguments: object) -> Any:
        return self.chrome.execute_async_script(_NOTEBOOK + script, *arguments)


def open_notebook(chrome: Chrome, address: str, name: str) -> Notebook:
    """Open a notebook of the lab's folder, and wait until its kernel is idle."""
    chrome.set_script_timeout(TIMEOUT)
    chrome.get(address.format(name))
    end = time.monotonic() + TIMEOUT
    ready = """
        const panel = window.jupyterapp?.shell?.currentWidget;
        return panel?.sessionContext?.session?.kernel?.status === 'idle'
          && panel.content.widgets.length > 0;
    """
    while not chrome.execute_script(ready):
        if time.monotonic() > end:
            raise TimeoutError(f"JupyterLab did not open {name}")
        time.sleep(0.2)
    # Leave the whole window to the notebook.
    chrome.execute_script("window.jupyterapp.shell.collapseLeft();")
    return Notebook(chrome)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")
