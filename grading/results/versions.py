"""The versions that results depend on."""

import importlib.metadata
import platform


def versions() -> dict[str, str]:
    """Return the installed versions of this package, Python, torch and numpy, importing none."""
    return {
        "backprop-harness": importlib.metadata.version("backprop-harness"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy")},
    }
