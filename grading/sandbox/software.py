"""Where the software lies that a student's process needs: to be read, and nothing else."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("torch", "numpy", "msgspec", "landlockpy")
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")


def packages() -> list[Path]:
    """The folders that hold torch and what else a child imports, without importing any."""
    found = [importlib.util.find_spec(name) for name in _PACKAGES]
    return sorted({Path(each.origin).parent.parent for each in found if each and each.origin})


def standard_library() -> list[Path]:
    """The folders of Python's own modules."""
    paths = sysconfig.get_paths()
    return sorted({Path(paths["stdlib"]), Path(paths["platstdlib"])})


def system_libraries() -> list[Path]:
    """The folders of the system's shared libraries."""
    return [path for path in map(Path, _SYSTEM) if path.exists()]
