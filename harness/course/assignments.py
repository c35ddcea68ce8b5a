"""The assignments: those that come with the package, and those that a course declares.

A process has one course at most. Importing this does not import torch.
"""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from harness.course.settings import SETTINGS_FILE, Settings, assignment_set, settings_beside
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.course.assignment import Assignment

SOURCE, RELEASE = "solutions", "assignments"
# The same in nbgrader's own layout.
NBGRADERS_SOURCE, NBGRADERS_RELEASE = "source", "release"
DECLARATION = "assignment.py"
VARIABLE = "ASSIGNMENT"
NBGRADER_CONFIG = "nbgrader_config.py"
# It is Python, and is read here rather than run: any folder may hold one.
_SET = re.compile(
    r"^[ \t]*\w+\.CourseDirectory\.(root|source_directory|release_directory)[ \t]*=(.*)$",
    re.MULTILINE,
)
_TEXT = re.compile(r"""[ \t]*[uUrR]?(['"])([^'"\\]+)\1[ \t]*(?:#.*)?""")

_CHAPTER = re.compile(r'"""Chapter (\d+)\b')


def _chapters() -> tuple[str, ...]:
    """Return the names of the assignments whose modules come with the package, in order."""
    modules = (Path(__file__).parents[1]).glob("*.py")
    found = {each.stem: _CHAPTER.match(each.read_text(encoding="utf-8")) for each in modules}
    order = sorted((int(match[1]), stem) for stem, match in found.items() if match)
    return tuple(stem.replace("_", "-") for _, stem in order)


SHIPPED = _chapters()
_course: Path | None = None


def use_course(folder: Path | None) -> None:
    """Have this process take assignments from the course in ``folder``; None: shipped ones only."""
    global _course  # noqa: PLW0603 - what a command is run on, as its working directory is
    _course = folder and folder.absolute()


def current_course() -> Path | None:
    """Return the folder of the course that this process takes assignments from, if any."""
    return _course


def choose_course(folder: Path | None) -> None:
    """Use the course in ``folder``; by default the nearest one, here or above, if there is any.

    The root that nbgrader is configured with in a folder counts as that folder. Raise UserError if
    ``folder`` is not a course's, or names in its configuration cannot be read.
    """
    here = Path.cwd()
    for each in [folder] if folder else [here, *here.parents]:
        names = _configured(each)
        if "" in names.values():
            raise UserError(
                f"{each / NBGRADER_CONFIG}: names of folders must be in quotes, for commands to "
                "find the course."
            )
        course = each / names.get("root", "")
        if source_in(course).is_dir():
            return use_course(course)
    if folder:
        raise UserError(
            f"{folder} is not a course's folder: it holds no folder {source_in(folder).name}."
        )
    return use_course(None)


def source_in(folder: Path) -> Path:
    """Return the folder of a course that holds its assignments: ``solutions/``.

    That is what nbgrader is configured with there, or ``source/`` in nbgrader's own layout.
    """
    if name := _configured(folder).get("source_directory"):
        return folder / name
    its = folder / NBGRADERS_SOURCE
    usual = (folder / SOURCE).is_dir() or not (folder / NBGRADER_CONFIG).is_file()
    return folder / SOURCE if usual or not its.is_dir() else its


def release_in(course: Path) -> Path:
    """Return the folder of a course that handouts are released to: ``assignments/``.

    That is what nbgrader is configured with there, or ``release/`` in nbgrader's own layout.
    """
    usual = RELEASE if source_in(course).name == SOURCE else NBGRADERS_RELEASE
    return course / (_configured(course).get("release_directory") or usual)


def _configured(folder: Path) -> dict[str, str]:
    """Return what nbgrader is configured with in a folder: ``root`` and the names of folders.

    A name that only running the configuration would tell is "", and such a root is omitted.
    """
    path = folder / NBGRADER_CONFIG
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = {key: _TEXT.fullmatch(value) for key, value in _SET.findall(text)}
    names = {key: match[2] if match else "" for key, match in found.items()}
    return {key: name for key, name in names.items() if name or key != "root"}


def assignment_names() -> tuple[str, ...]:
    """Return the names of all assignments: the shipped ones, then those that the course declares.

    One of the course's own replaces the shipped one of its name.
    """
    found = sorted(source_in(_course).glob(f"*/{DECLARATION}")) if _course else []
    declared = (path.parent.name for path in found if is_declared(path.parent))
    return tuple(dict.fromkeys([*SHIPPED, *declared]))


def module_of(name: str) -> str:
    """Return the name of the module that an assignment's handout imports.

    One word alone may be the name of a package, or of what a student hands in.
    """
    return name.replace("-", "_") if "-" in name else f"{name}_assignment"


def source_of(name: str, course: Path | None = None) -> Path:
    """Return the folder of an assignment in a course (default: the current), which may not exist.

    It has the assignment's name, or is the one whose settings are for that shipped assignment.
    Raise UserError if there are several of these.
    """
    source = source_in(course or _course or Path())
    if (source / name).is_dir() or name not in SHIPPED:
        return source / name
    every = [path.parent for path in sorted(source.glob(f"*/{SETTINGS_FILE}"))]
    found = [each for each in every if not is_declared(each) and assignment_set(each) == name]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} are both for {name}: call one of them {name}.")
    return found[0] if found else source / name


def settings_file(name: str, folder: Path | None = None) -> Path:
    """Return the file of an assignment's settings: that in ``folder``, else the course's.

    It need not exist.
    """
    own = folder and folder / SETTINGS_FILE
    return own if own and own.is_file() else source_of(name) / SETTINGS_FILE


def settings_of(name: str, folder: Path | None = None) -> Settings:
    """Return what is set for an assignment in ``folder``, else in the course, else declared.

    Raise SettingsError for invalid settings.
    """
    return settings_beside(settings_file(name, folder).parent, name)


def is_declared(folder: Path) -> bool:
    """Return whether a folder of a course declares an assignment of its own."""
    path = folder / DECLARATION
    if not path.is_file():
        return False
    # In nbgrader's own layout, a file of that name may be what students begin with.
    return folder.parent.name == SOURCE or VARIABLE.encode() in path.read_bytes()


def load_assignment(name: str, file: Path | None = None) -> Assignment:
    """Return the assignment called ``name``, declared in ``file`` (default: the course's, if any).

    Raise KeyError if there is none, and UserError for a declaration that cannot be used. This
    imports torch.
    """
    file = file or source_of(name) / DECLARATION
    if is_declared(file.parent) if file.name == DECLARATION else file.is_file():
        from harness.course.loading import load_declaration

        refuse_name(name, file)
        return load_declaration(file, name)
    if name not in SHIPPED:
        raise KeyError(name)
    module = name.replace("-", "_")
    found: Assignment = getattr(import_module(f"harness.{module}"), module.upper())
    return found


def declared_files(folder: Path) -> Iterator[Path]:
    """Yield the files that a declaration in ``folder`` can use, in order; none for a shipped one.

    These are all but notebooks, settings and the module that is made from the declaration.
    """
    if not is_declared(folder):
        return
    made = folder / f"{module_of(folder.name)}.py"
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        other = path.suffix == ".ipynb" or path.name == SETTINGS_FILE or path == made
        if not hidden and not other and path.is_file():
            yield path


def declaration_digest(folder: Path) -> str:
    """Return a digest of what the declaration in ``folder`` can use, "" for a shipped one."""
    total = hashlib.sha256()
    empty = total.hexdigest()
    for path in declared_files(folder):
        total.update(f"{path.relative_to(folder).as_posix()} ".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return "" if total.hexdigest() == empty else total.hexdigest()


def refuse_name(name: str, file: Path) -> None:
    """Raise UserError, which says where, if no assignment of a course's own can have that name."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise UserError(
            f"{file} cannot declare an assignment called {name}: use lower-case letters, digits "
            "and hyphens, and begin with a letter."
        )
