"""The versions that results depend on."""

import hashlib
import importlib.metadata
import platform
from pathlib import Path


def versions() -> dict[str, str]:
    """Return the installed versions of this package, Python, torch and numpy, importing none."""
    return {
        "backprop-harness": importlib.metadata.version("backprop-harness"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy")},
    }


def own_source() -> str:
    """Return a digest of the packages that judge: their code, and the data that decides marks."""
    root = Path(__file__).parents[2]
    total = hashlib.sha256()
    for package in ("grading", "harness"):
        files = (root / package).rglob("*")
        for path in sorted(path for path in files if path.suffix in (".py", ".toml", ".npz")):
            total.update(f"{path.relative_to(root)} ".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
