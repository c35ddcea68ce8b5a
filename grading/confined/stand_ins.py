"""Stand-ins for what is not there where code is graded: using one does nothing, or is an error."""

from __future__ import annotations

import types
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

from grading.parsing.magics import CELLS, carried, plain_python


class NotGraded(Exception):
    """The code needs what only a notebook has: pictures, data, a check's result."""


class Inert:
    """Stands for what a handout imports, which grading ignores: using it does nothing or skips."""

    def __call__(self, *_args: object, **_options: object) -> Inert:
        """Return itself."""
        return self

    def __getattr__(self, name: str) -> Inert:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def _skip(self, *_args: object) -> NoReturn:
        raise self._error()

    def _error(self) -> Exception:
        return NotGraded()

    __iter__ = __getitem__ = __len__ = __float__ = __int__ = __bool__ = _skip
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _skip
    __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __neg__ = __format__ = _skip


class Missing(Inert):
    """Stands for a module that is not installed, or for what is in it: it says so when it is used.

    Naming it does not use it, so that an annotation or a comparison of types costs nothing.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, *_args: object, **_options: object) -> NoReturn:
        """Raise ModuleNotFoundError."""
        raise self._error()

    def __instancecheck__(self, _instance: object) -> bool:
        return False

    def _error(self) -> Exception:
        return ModuleNotFoundError(
            f"there is no module {self._module} where this is graded: it is a package that is not "
            "installed there, or a file that was not handed in",
            name=self._module,
        )

    __mro_entries__ = __enter__ = __exit__ = Inert._skip


class Shell(Inert):
    """Stands for IPython: runs the Python that a magic carries with ``run``, and nothing else."""

    def __init__(self, run: Callable[[str], object]) -> None:
        self._run = run

    def run_line_magic(self, name: str, line: str, *_: object) -> None:
        """Run what a line magic carries."""
        self._run(carried(name, line, "exec"))

    def run_cell_magic(self, name: str, _line: str, body: str) -> None:
        """Run what a cell magic carries."""
        self._run(plain_python(body) if name in CELLS else "")

    def getoutput(self, *_: object) -> list[str]:
        """Return the lines that a shell command prints: none."""
        return []


class _Handout(types.ModuleType):
    """Stands for a module of the harness, such as the one a handout imports ``check`` from."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Inert()


class Handouts(MetaPathFinder, Loader):
    """Finds a stand-in for what handouts import: the judge's side is not the child's."""

    def __init__(self) -> None:
        self.names = {"harness"}

    def find_spec(
        self, fullname: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a stand-in for a module that is handed out, None for others."""
        inside = fullname.split(".", maxsplit=1)[0] in self.names
        return ModuleSpec(fullname, self, is_package=True) if inside else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """Return the stand-in."""
        return _Handout(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing."""
