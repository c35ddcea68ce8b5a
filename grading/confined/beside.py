"""Imports of the modules that were handed in beside a file, which never hide an installed one."""

import ast
import linecache
import types
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from grading.confined.statements import future, run_statement
from grading.parsing.source import Cell


class Beside(MetaPathFinder, Loader):
    """Finds modules by their paths: ``helpers.py``, ``layers/__init__.py``. It has to be last."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self.namespaces: list[dict[str, Any]] = []

    def take(self, modules: Sequence[Cell]) -> None:
        """Make these importable."""
        for cell in modules:
            self._texts[cell.name] = cell.text
            lines = cell.text.splitlines(keepends=True)
            linecache.cache[f"<{cell.name}>"] = (len(cell.text), None, lines, f"<{cell.name}>")

    def find_spec(
        self, fullname: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a module or package that is there, None for others."""
        inner = fullname.replace(".", "/")
        if f"{inner}.py" in self._texts:
            return ModuleSpec(fullname, self, origin=f"{inner}.py")
        if any(name.startswith(f"{inner}/") for name in self._texts):
            return ModuleSpec(fullname, self, origin=f"{inner}/__init__.py", is_package=True)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module's code, also where not all that it imports is there."""
        name = (module.__spec__ and module.__spec__.origin) or ""
        flags = 0
        self.namespaces.append(module.__dict__)
        for node in ast.parse(self._texts.get(name, ""), f"<{name}>").body:
            flags |= future(node)
            with suppress(ModuleNotFoundError):
                run_statement(node, f"<{name}>", flags, module.__dict__)
