"""Take what a student sees in a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from screenshots.browser import open_html, picture_of
from screenshots.lab import ROOT
from screenshots.studio import Studio, shot, solutions, with_wrong_sigmoid

PAGE = (
    '<pre style="display: inline-block; margin: 0; padding: 14px 18px; border-radius: 8px;'
    " background: #16181d; color: #d8dade; font: 14px/1.35 'DejaVu Sans Mono', monospace\">{code}"
    "</pre>"
)


@shot("terminal")
def terminal(studio: Studio) -> bytes:
    """Take the output of `backprop check` for a file with a wrong sigmoid."""
    cells = solutions("one-neuron") | {
        "sigmoid": with_wrong_sigmoid(solutions("one-neuron")["sigmoid"])
    }
    code = "\n\n".join(["import torch\nfrom torch.autograd import Function", *cells.values()])
    (studio.folder / "my_neuron.py").write_text(code, encoding="utf-8")
    call = ["check", "my_neuron.py", "--assignment", "one-neuron"]
    said = Text.from_ansi(_on_a_terminal([sys.executable, "-m", "grading.cli", *call], studio))
    prompt = Text.assemble((f"$ backprop {' '.join(call)}", "dim"), "\n")
    console = Console(record=True, file=io.StringIO(), width=84, force_terminal=True)
    console.print(prompt + said)
    html = console.export_html(theme=MONOKAI, code_format=PAGE, inline_styles=True)
    open_html(studio.chrome, html, studio.folder)
    return picture_of(studio.chrome, studio.chrome.find_element("css selector", "pre"), margin=0)


def _on_a_terminal(command: list[str], studio: Studio) -> str:
    """Return what a command prints to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    with subprocess.Popen(command, cwd=studio.folder, stdout=theirs, env=environment):
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:
            pass  # Linux reports the closed other end like this
    os.close(ours)
    return said.decode().replace("\r\n", "\n").rstrip("\n")
