"""The versions that results depend on."""

from __future__ import annotations

import importlib.metadata
import platform


def versions() -> dict[str, str]:
    """Of this package, Python, torch and numpy, as installed; imports none of them."""
    return {
        "backprop-harness": importlib.metadata.version("backprop-harness"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy")},
    }
