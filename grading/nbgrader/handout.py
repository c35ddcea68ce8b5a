"""The module that is handed out beside a notebook, made from the declaration of its assignment.

It holds what the declaration needs and nothing else: no comments, no sizes, and where the
declaration says so no gradients and mistakes either. Where students write the forward, recorded
cases stand in its place.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Sequence
from pathlib import Path

from grading.parsing.source import HANDED_OUT
from grading.sandbox.temporary import room
from harness.course.assignment import Assignment
from harness.course.assignments import DECLARATION, VARIABLE, load_assignment, module_of
from harness.course.detective import Detective
from harness.errors import UserError
from harness.handouts import packed
from harness.probes.recorded import record, record_steps

# Of the data in a module, as text.
DATA_LIMIT = 1024 * 1024
WIDTH = 100
# What the module defines for the notebook.
GIVEN = ("check", "train", "draw_chain")
# What it may need of Python and of the harness.
_TOOLS = """
from types import SimpleNamespace
from harness.handouts import handout
from harness.handouts import recorded
from harness.handouts import recorded_steps
from harness.handouts import unpacked
"""
_KeptBack = dict[str, set[str]]
_KEPT_BACK = {"assignment": {"sizes"}}
_TELLING = {"gradients", "where", "mistakes"}
_KEPT_BACK_TOO = {
    **dict.fromkeys(("stage", "pair"), _TELLING),
    "assignment": {"sizes", "mistakes"},
}


def write_module(folder: Path) -> Path:
    """Write the module of the assignment that ``folder`` declares into it; return its path.

    Raise UserError if it cannot be made, or would replace a file that was not made so.
    """
    path = folder / f"{module_of(folder.name)}.py"
    text = module_text(folder)
    old = path.read_text(encoding="utf-8") if path.exists() else HANDED_OUT
    if not old.startswith(HANDED_OUT):
        raise UserError(
            f"{path} is in the way of the module that is handed out under that name: rename it."
        )
    if old != text:
        path.write_text(text, encoding="utf-8")
    return path


def module_text(folder: Path) -> str:
    """Return the text of the module of the assignment that ``folder`` declares.

    Raise UserError if its declaration, or something it uses, cannot be handed out.
    """
    name = folder.name
    declared = load_assignment(name, folder / DECLARATION)
    text = _Module(folder, declared).text()
    with tempfile.TemporaryDirectory(dir=room()) as place:
        path = Path(place, f"{module_of(name)}.py")
        path.write_text(text, encoding="utf-8")
        try:
            made = load_assignment(name, path)
        except UserError as error:
            raise UserError(
                f"{folder / DECLARATION} cannot be handed out, as what is made of it does not "
                f"run: {error}"
            ) from None
        _check_hidden(folder / DECLARATION, declared, made, text)
        _compare(folder / DECLARATION, declared, made)
    return text


def _check_hidden(file: Path, declared: Assignment, made: Assignment, text: str) -> None:
    """Raise UserError if a hidden wrong gradient of a detective is in what is handed out."""
    pairs = {
        (getattr(key, "value", None), getattr(value, "value", None))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
    }
    for detective, other in zip(declared.detectives, made.detectives, strict=False):
        shown = [pair for each in detective.shown for pair in each.gradients.items()]
        hidden = [pair for each in detective.hidden if each for pair in each.gradients.items()]
        if any(other.hidden) or any(pair in pairs for pair in hidden if pair not in shown):
            raise UserError(
                f"{file}: a hidden backward of {detective.name} would be handed out: write its "
                "name as text in detective(…), and what is hidden nowhere else."
            )


def _compare(file: Path, declared: Assignment, made: Assignment) -> None:
    """Raise UserError unless what is handed out makes the same checks, and keeps back enough."""
    from harness.course.settings import Settings
    from harness.probes import plan

    checks, others = ([(c.id, c.max_points) for c in plan(a, Settings())] for a in (declared, made))
    if checks != others:
        raise UserError(f"{file}: what would be handed out makes other checks than it declares.")
    if given := [each for each in made.stages if each.forward_is_work and not each.recorded]:
        raise UserError(
            f"{file}: the forward of {given[0].name} cannot be kept back: write its name and its "
            "work as text in stage(…) or pair(…)."
        )
    told = [each for each in made.stages if each.gradients or each.where or each.mistakes]
    if declared.handout == "signatures" and told:
        raise UserError(
            f"{file}: the gradients of {told[0].name} cannot be kept back: give gradients, where "
            "and mistakes as arguments of its stage(…)."
        )
    if made.task is not None:
        try:
            made.task.unseen()
        except OSError as error:
            raise UserError(
                f"{file}: {error.filename} would be missing where students train: name data by "
                "the file's name alone, or make them in a function."
            ) from None


class _Module:
    """Gathers what a declaration needs from it and from the modules beside it."""

    def __init__(self, folder: Path, declared: Assignment) -> None:
        self._folder = folder
        self._declared = declared
        signatures = declared.handout == "signatures"
        self._kept_back = _KEPT_BACK | (_KEPT_BACK_TOO if signatures else {})
        if any(each.hidden for each in declared.detectives):
            # Known mistakes of a stage may be among what is hidden.
            for kind in ("stage", "pair", "assignment"):
                self._kept_back[kind] = {*self._kept_back.get(kind, ()), "mistakes"}
        self._forwards = _Forwards(declared)
        self._statements: list[tuple[Path, ast.stmt]] = []
        self._seen: set[Path] = set()
        self._data: set[str] = set()
        self._title = ""
        self._gather(folder / DECLARATION)

    def text(self) -> str:
        """Return the module's text."""
        name = self._folder.name
        end = ast.parse(f'{", ".join(GIVEN)} = handout("{name}", {VARIABLE})')
        kept = _needed([*ast.parse(_TOOLS).body, *self._checked(), *end.body], {*GIVEN})
        self._check_forwards(kept)
        used = set().union(*map(_names, kept))
        imports = [each for each in kept if isinstance(each, ast.Import | ast.ImportFrom)]
        title = [ast.Expr(ast.Constant(self._title))] if self._title else []
        parts = [
            f"{HANDED_OUT} for {name}",
            ast.unparse(ast.Module([*title], [])),
            "\n".join(sorted({*map(ast.unparse, imports)}, key=_order)),
            *(self._packed(each) for each in sorted(self._data) if _variable(each) in used),
            *(_assigned(*each) for each in self._forwards.recorded.items()),
            *(_written(each) for each in kept if each not in imports),
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def _gather(self, file: Path) -> None:
        """Take in the statements of a file, after those of the modules beside it that it uses."""
        self._seen.add(file)
        tree = ast.parse(file.read_bytes(), str(file))
        title = ast.get_docstring(tree)
        if file.name == DECLARATION:
            self._title = title or ""
        tree.body = [
            each
            for each in tree.body[title is not None :]
            if not (isinstance(each, ast.If) and "__name__" in ast.unparse(each.test))
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._gather_imported(file, node)
        tree = self._forwards.visit(tree)
        rewriter = _Rewriter(self._folder, tree, self._kept_back)
        self._statements += [(file, each) for each in rewriter.visit(tree).body]
        self._data |= rewriter.data

    def _gather_imported(self, file: Path, node: ast.Import | ast.ImportFrom) -> None:
        module = getattr(node, "module", None)
        for name in [module] if module else [each.name for each in node.names]:
            path = _local(self._folder, name)
            if path and path.name == "__init__.py":
                raise UserError(
                    f"{file}, line {node.lineno}: {path.parent.name} is a package, and only "
                    "modules can be handed out: put what is used of it into one."
                )
            if path and path not in self._seen:
                self._gather(path)

    def _checked(self) -> list[ast.stmt]:
        """Return all statements. Raise UserError if two files define one name differently."""
        owners: dict[str, tuple[Path, str]] = {}
        for file, statement in self._statements:
            text = ast.unparse(statement)
            for name in _bound(statement):
                owner, other = owners.setdefault(name, (file, text))
                if owner != file and other != text:
                    raise UserError(
                        f"{owner} and {file.name} both define {name}, and both are handed out in "
                        "one module: rename one."
                    )
                if name in GIVEN:
                    raise UserError(f"{file} defines {name}, which handouts import: rename it.")
        return [statement for _, statement in self._statements]

    def _check_forwards(self, kept: Sequence[ast.stmt]) -> None:
        """Raise UserError if what a forward is made of is handed out for another reason."""
        for each in kept:
            is_code = any(isinstance(node, ast.FunctionDef | ast.Lambda) for node in ast.walk(each))
            if is_code and (names := _bound(each) & self._forwards.names):
                raise UserError(
                    f"{self._folder / DECLARATION}: {min(names)} computes what students "
                    "write, and something else that is handed out needs it: write it twice."
                )

    def _packed(self, name: str) -> str:
        path = self._folder / name
        text = packed(path.read_bytes())
        if len(text) > DATA_LIMIT:
            raise UserError(
                f"{path} is too large to be handed out inside a module, which holds "
                f"{DATA_LIMIT // 2**20} MiB of data: train with fewer samples, or with data that a "
                "function makes."
            )
        return _assigned(_variable(name), text)


class _Forwards(ast.NodeTransformer):
    """Puts recorded cases in the place of each forward that students write.

    In the place of what is hidden from them it puts how much that is.
    ``recorded`` are the texts of these by the name of a variable, ``names`` those that the
    forwards used.
    """

    def __init__(self, declared: Assignment) -> None:
        self._declared = declared
        self._work = {each.name: each for each in declared.stages if each.forward_is_work}
        self._detectives = {each.name: each for each in declared.detectives}
        self._steps = {
            each.name: each for each in declared.optimizers if not isinstance(each.like, type)
        }
        self.recorded: dict[str, str] = {}
        self.names: set[str] = set()

    def visit_Call(self, node: ast.Call) -> ast.AST:
        given = {each.arg: each for each in node.keywords}
        parts = dict(zip(("name", "signature", "forward"), node.args, strict=False))
        parts |= {name: each.value for name, each in given.items() if name}
        name, work = (getattr(parts.get(each), "value", None) for each in ("name", "work"))
        if ast.unparse(node.func).rpartition(".")[2] == "detective" and name in self._detectives:
            return self.generic_visit(_without_hidden(node, self._detectives[name]))
        if ast.unparse(node.func).rpartition(".")[2] == "optimizer" and name in self._steps:
            return self._with_recorded_steps(node, name, given.get("like"))
        is_stage = ast.unparse(node.func).rpartition(".")[2] in _KEPT_BACK_TOO
        if not is_stage or not work or name not in self._work:
            return self.generic_visit(node)
        variable = f"CASES_OF_{name}"
        self.names |= _names(parts["forward"])
        self.recorded[variable] = packed(record(self._work[name]).encode())
        cases = ast.parse(f"recorded({variable})", mode="eval").body
        if "forward" in given:
            given["forward"].value = cases
        else:
            node.args[2] = cases
        node.keywords = [each for each in node.keywords if each.arg not in _TELLING]
        return node

    def _with_recorded_steps(self, node: ast.Call, name: str, like: ast.keyword | None) -> ast.AST:
        """Return the declaration of an optimizer with its steps in the place of its reference."""
        self.names |= _names(like.value if like else node.args[1])
        text = record_steps(self._declared, self._steps[name])
        self.recorded[f"STEPS_OF_{name}"] = packed(text.encode())
        steps = ast.parse(f"recorded_steps(STEPS_OF_{name})", mode="eval").body
        if like:
            like.value = steps
        else:
            node.args[1] = steps
        return node


def _without_hidden(node: ast.Call, detective: Detective) -> ast.Call:
    """Return the declaration of a detective with the number of what is hidden, in its place."""
    shown = [dict(each.gradients) for each in detective.shown]
    kept = [each for each in node.keywords if each.arg not in ("shown", "hidden")]
    new = ast.parse(f"_(shown={shown!r}, hidden={len(detective.hidden)})", mode="eval").body
    assert isinstance(new, ast.Call)
    node.keywords = [*kept, *new.keywords]
    return node


class _Rewriter(ast.NodeTransformer):
    """Removes what is kept back, and imports of the modules whose code is handed out itself.

    The names of files beside the declaration become what unpacks them.
    """

    def __init__(self, folder: Path, tree: ast.AST, kept_back: _KeptBack) -> None:
        self.data: set[str] = set()
        self._folder, self._kept_back = folder, kept_back
        self._uses = {
            (node.value.id, node.attr)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func).rpartition(".")[2]
        kept_back = self._kept_back.get(name, set())
        node.keywords = [each for each in node.keywords if each.arg not in kept_back]
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        ours = [each for each in node.names if _local(self._folder, each.name)]
        node.names = [each for each in node.names if each not in ours]
        return [*([node] if node.names else []), *(self._namespace(each) for each in ours)]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        if node.module and not _local(self._folder, node.module):
            return [node]
        if not node.module:
            return [self._namespace(each) for each in node.names]
        # All names of a module of one's own are there already.
        renamed = (f"{each.asname} = {each.name}" for each in node.names if each.asname)
        return ast.parse("\n".join(renamed)).body

    def _namespace(self, alias: ast.alias) -> ast.stmt:
        """Return what stands for an import of a whole module: an object with what is used of it."""
        module = alias.asname or alias.name
        used = ", ".join(f"{name}={name}" for of, name in sorted(self._uses) if of == module)
        return ast.parse(f"{module} = SimpleNamespace({used})").body[0]

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        name = node.value
        if not isinstance(name, str) or not name or "\n" in name or len(name) > WIDTH:
            return node
        path = self._folder / name
        inside = path.resolve().is_relative_to(self._folder.resolve())
        if not inside or not path.is_file() or path.suffix in ("", ".py", ".ipynb"):
            return node
        self.data.add(name)
        return ast.parse(f"unpacked({name!r}, {_variable(name)})", mode="eval").body


def _assigned(variable: str, text: str) -> str:
    """Return the text of a statement that gives a variable a long text."""
    lines = (text[at : at + WIDTH] for at in range(0, len(text), WIDTH))
    return "\n".join([f'{variable} = """', *lines, '"""'])


def _variable(file: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in file).upper()


def _local(folder: Path, module: str) -> Path | None:
    """Return the file of a module or package beside the declaration, None for others."""
    top = folder / module.partition(".")[0]
    return next(filter(Path.is_file, (top / "__init__.py", top.with_suffix(".py"))), None)


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _needed(statements: Sequence[ast.stmt], wanted: set[str]) -> list[ast.stmt]:
    """Return the statements that define the names wanted, and what those need, in order."""
    kept: set[ast.stmt] = set()
    grown = True
    while grown:
        found = {each for each in statements if not (bound := _bound(each)) or wanted & bound}
        grown = found != kept
        kept, wanted = found, wanted.union(*map(_names, found))
    return [each for each in statements if each in kept]


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines; empty for one that does something else."""
    match statement:
        case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
            return {statement.name}
        case ast.Import():
            return {(each.asname or each.name).partition(".")[0] for each in statement.names}
        case ast.ImportFrom(module="__future__") | ast.ImportFrom(names=[ast.alias(name="*")]):
            return set()
        case ast.ImportFrom():
            return {each.asname or each.name for each in statement.names}
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            return set().union(*map(_names, targets))
    return set()


def _order(text: str) -> tuple[bool, bool, str]:
    """Return where an import goes: those of the future first, the harness's last."""
    return not text.startswith("from __future__"), text.startswith("from harness"), text


def _written(statement: ast.stmt) -> str:
    """Return a statement's text, with the arguments of a long call on lines of their own."""
    text = ast.unparse(statement)
    call = getattr(statement, "value", None)
    if isinstance(call, ast.Call) and len(text) > WIDTH:
        arguments = [ast.unparse(each) for each in (*call.args, *call.keywords)]
        head = text.removesuffix(ast.unparse(call)) + ast.unparse(call.func)
        text = f"{head}(\n" + "".join(f"    {each},\n" for each in arguments) + ")"
    return text
