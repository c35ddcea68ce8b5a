"""What a student's process can read and import, where the harness is a checkout or installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.attacks import RIGHT
from grading.confined import software
from grading.confined.software import (
    PACKAGE_ROOT,
    MissingPackage,
    Software,
    all_but,
    inner_sources,
    linked_folders,
    without,
)
from grading.confined.spawner import SpawnerError
from grading.parsing.source import Cell, Source
from grading.sandbox.remote import RemoteCandidate
from grading.sandbox.zygote import Zygote
from harness.course.settings import Limits
from tests.users import ORDINARY, PROJECT, as_ordinary_user, closed_folders, needs

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down")
SITE = sysconfig.get_path("purelib")


def failures(spawner, *statements: str) -> list[tuple[str, str]]:
    """The kind and the text of what each statement raises; all of them have to raise."""
    code = Source((Cell("submission.py", "\n".join(statements)),), notebook=False)
    with RemoteCandidate(spawner, code, Limits()) as remote:
        assert not remote.definition.unusable
        return [(each.kind, each.text) for each in remote.definition.failed]


@pytest.fixture(scope="module", params=["full", "partial"])
def locked(request) -> Iterator[Zygote]:
    if request.param == "full":
        needs("bwrap")
    with Zygote([request.param]) as zygote:
        zygote.wait()
        yield zygote


@pytest.mark.slow
def test_the_warm_process_imports_the_inner_room_and_no_more_of_this_project():
    program = """
    import sys
    import grading.confined.forkserver as forks
    forks._warm()
    files = [m.__file__ for n, m in sys.modules.items() if n.startswith(("grading", "harness"))]
    print("\\n".join(files))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)},
    )
    imported = {Path(line).relative_to(PACKAGE_ROOT).as_posix() for line in done.stdout.split()}
    started_with = {"grading/confined/__main__.py"}
    every = {path.relative_to(PACKAGE_ROOT).as_posix() for path in inner_sources()}
    assert imported | started_with == every


TREES = st.recursive(st.none(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner))


@given(TREES, st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=3))
def test_all_of_a_folder_but_closed_ones_is_all_of_their_outside(tree, closed):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = list(planted(root, tree))
        shut = [root.joinpath(*parts) for parts in closed]
        found = list(all_but(root, shut))
        for file in files:
            is_closed = any(file.is_relative_to(each) for each in shut)
            assert sum(file.is_relative_to(each) for each in found) == (not is_closed)


def planted(folder: Path, tree) -> Iterator[Path]:
    for name, inner in (tree or {}).items():
        path = folder / name
        if inner is None:
            path.touch()
            yield path
        else:
            path.mkdir()
            yield from planted(path, inner)


def test_a_link_in_a_folder_opens_nothing_outside(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "library" / "packages").mkdir(parents=True)
    (tmp_path / "library" / "link").symlink_to(tmp_path / "outside")
    assert list(all_but(tmp_path / "library", [tmp_path / "library" / "packages"])) == []


def test_the_folders_of_shared_libraries_are_those_that_the_linker_knows(tmp_path):
    cache = tmp_path / "cache"
    assert linked_folders(cache) == []
    cache.write_bytes(b"glibc\0libc.so.6\0/usr/lib64/libc.so.6\0libx.so\0/opt/x/lib/libx.so\0")
    assert linked_folders(cache) == [Path("/opt/x/lib"), Path("/usr/lib64").resolve()]


def test_of_a_folder_of_libraries_other_folders_are_left_out(tmp_path):
    for name in ("python/json", "tuple/extra", "venv/lib", "plain"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "libx.so").touch()
    wanted = [tmp_path / "python", tmp_path / "tuple" / "extra"]
    assert set(without(tmp_path, wanted)) == {tmp_path / "venv", tmp_path / "plain"}
    assert list(without(tmp_path / "python", wanted)) == []
    assert list(without(tmp_path / "libx.so", wanted)) == []


def test_a_package_brings_what_it_requires_and_no_more():
    plain, more = Software.installed(), Software.installed(["scikit-learn"])
    assert {"torch", "numpy", "sympy", "typing_extensions"} <= set(plain.names)
    assert {"harness", "grading", "click", "msgspec", "scipy"}.isdisjoint(plain.names)
    assert {"sklearn", "scipy", "joblib"} <= set(more.names) - set(plain.names)
    with pytest.raises(MissingPackage, match="not-to-be-had"):
        Software.installed(["not-to-be-had"])


def test_a_distribution_without_a_record_is_found_all_the_same(tmp_path, monkeypatch):
    """As Debian's packages are, and those that somebody develops."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "__init__.py").touch()
    (tmp_path / "odd_one-1.egg-info").mkdir()
    (tmp_path / "odd_one-1.egg-info" / "PKG-INFO").write_text("Name: odd-one\nVersion: 1\n")
    (tmp_path / "odd_one-1.egg-info" / "top_level.txt").write_text("odd\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = Software.installed(["odd-one"])
    assert "odd" in found.names
    assert str(tmp_path / "odd") in found.packages


JUDGE = PACKAGE_ROOT / "harness" / "judging" / "judge.py"
MISTAKES = PACKAGE_ROOT / "harness" / "mistakes" / "sigmoid.toml"


@pytest.mark.slow
@ON_LINUX
def test_no_file_of_the_judge_or_of_another_package_can_be_read(locked):
    digits = PACKAGE_ROOT / "harness" / "training" / "data" / "digits.npz"
    other = next(Path(SITE).glob("click/__init__.py"))
    paths = [JUDGE, MISTAKES, digits, other, *inner_sources()]
    assert all(path.is_file() for path in paths)
    said = failures(locked, *(f"open({str(path)!r}, 'rb')" for path in paths))
    assert len(said) == len(paths)
    assert {kind for kind, _ in said} <= {"PermissionError", "FileNotFoundError"}


@pytest.mark.slow
@ON_LINUX
def test_nothing_but_the_packages_for_students_can_be_imported(locked):
    hidden = f"import sys; sys.meta_path.pop(0); sys.path += {[SITE, str(PACKAGE_ROOT)]!r}"
    own = ("harness.judging.judge", "grading.confined.wire", "tests.right")
    names = (*own, "click", "sklearn", "pytest")
    said = failures(locked, hidden, *(f"import {name}" for name in names))
    assert [kind for kind, _ in said] == ["ModuleNotFoundError"] * len(names)


@pytest.mark.slow
@ON_LINUX
def test_python_and_torch_with_what_it_requires_are_there_after_caches_are_dropped(locked):
    names = "sqlite3, unittest.mock, xml.dom.minidom, numpy.f2py, torch.utils.data, sympy, networkx"
    metadata = """
import importlib.metadata
assert importlib.metadata.version("Torch")[0].isdigit()
assert {"torch", "numpy"} <= {each.metadata["Name"] for each in importlib.metadata.distributions()}
importlib.metadata.version("click")
"""
    said = failures(locked, "import importlib; importlib.invalidate_caches()", f"import {names}")
    assert said == []
    assert [text for _, text in failures(locked, *metadata.splitlines())] == [
        "No package metadata was found for click"
    ]


@pytest.mark.slow
@ON_LINUX
def test_folders_with_others_packages_cannot_be_listed(locked):
    folders = (SITE, sysconfig.get_path("stdlib"), str(PACKAGE_ROOT), str(PACKAGE_ROOT / "harness"))
    said = failures(locked, "import os", *(f"os.listdir({folder!r})" for folder in folders))
    assert len(said) == len(folders)


@pytest.mark.slow
@ON_LINUX
@pytest.mark.parametrize("level", ["full", "partial"])
def test_another_environment_among_the_systems_libraries_cannot_be_read(
    tmp_path, monkeypatch, level
):
    """As below /usr/local/lib, with a harness of its own."""
    if level == "full":
        needs("bwrap")
    if not linked_folders():
        pytest.skip("the linker of this system keeps no cache")
    tmp_path.chmod(0o755)
    judge = tmp_path / "course" / "lib" / "python3.11" / "site-packages" / "harness" / "judge.py"
    judge.parent.mkdir(parents=True)
    for path in (judge, tmp_path / "libx.so"):
        path.write_text("pass")
    monkeypatch.setattr(software, "SYSTEM", (*software.SYSTEM, str(tmp_path)))
    with Zygote([level]) as zygote:
        library = f"open({str(tmp_path / 'libx.so')!r}).close()"
        assert [kind for kind, _ in failures(zygote, f"open({str(judge)!r})", library)] == [
            "PermissionError"
        ]


@pytest.mark.slow
@ON_LINUX
def test_no_module_and_no_function_of_the_judge_is_in_memory(locked):
    """Neither by name nor by a search of everything that the collector knows."""
    spy = """
import gc, sys, types
names = {m.__name__ for m in gc.get_objects() if isinstance(m, types.ModuleType)} | set(sys.modules)
names |= {f.__module__ for f in gc.get_objects() if isinstance(f, types.FunctionType)}
found = sorted(str(n) for n in names if str(n).split(".")[0] in ("harness", "grading"))
raise ValueError(" ".join(found))
"""
    code = Source((Cell("<cell 1>", spy),), notebook=True)
    with RemoteCandidate(locked, code, Limits()) as remote:
        (said,) = remote.definition.failed
    inner = [path.relative_to(PACKAGE_ROOT).with_suffix("") for path in inner_sources()]
    names = {".".join(path.parts).removesuffix(".__init__") for path in inner}
    assert set(said.text.split()) <= names


@pytest.mark.slow
@ON_LINUX
def test_a_package_of_the_assignment_can_be_imported_and_others_still_cannot():
    with Zygote(["full", "partial"], ["scipy"]) as zygote:
        assert failures(zygote, "import scipy.special; scipy.special.expit(0.0)") == []
        assert [kind for kind, _ in failures(zygote, "import sklearn")] == ["ModuleNotFoundError"]


SPY = """
import gc, importlib, os, pathlib, sys
SITE = @SITE@
class Through(Exception): pass
def tried(what, way):
    try: way()
    except (OSError, ImportError): return
    raise Through(what)
def imports(name):
    module = importlib.import_module(name)
    if type(getattr(module, "anything", None)).__name__ == "Inert": raise ImportError
for name in ("harness/judging/judge.py", "harness/course/stage.py",
             "harness/training/data/digits.npz",
             "harness/many_neurons.py", "grading/workers/seeds.py", "courseware/__init__.py",
             "sklearn/__init__.py", "nbgrader/__init__.py", "harness/candidate/workbench.py"):
    tried(name, lambda: open(os.path.join(SITE, name), "rb"))
for name in (SITE, SITE + "/harness", os.path.dirname(SITE)): tried(name, lambda: os.listdir(name))
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__name__ != "_Handouts"]
NAMES = ("harness.judging.judge", "harness.many_neurons", "grading.workers.seeds", "courseware",
         "sklearn")
sys.path.append(SITE)
importlib.invalidate_caches()
for name in NAMES:
    tried(name, lambda: imports(name))
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__name__ != "Finder"]
for name in NAMES:
    tried(name, lambda: imports(name))
if "courseware" in sys.modules: raise Through("courseware")
raise LookupError("all held")
"""


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """An environment with the wheel in it, beside a course's own package, as anyone can have it."""
    with tempfile.TemporaryDirectory(prefix="installed-") as name:
        root = Path(name)
        root.chmod(0o755)
        pip = [sys.executable, "-m", "pip", "--quiet"]
        wheel = [
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--wheel-dir",
            name,
            str(PROJECT),
        ]
        subprocess.run([*pip, "wheel", *wheel], check=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "env"], check=True)
        own = Path("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
        site = root / "env" / own
        left_out = shutil.ignore_patterns("*backprop_harness*", "__pycache__")
        shutil.copytree(SITE, site, copy_function=_linked, ignore=left_out, dirs_exist_ok=True)
        (built,) = root.glob("*.whl")
        into = ["--python", f"{name}/env/bin/python", "install", "--no-deps", "--no-index"]
        subprocess.run([*pip, *into, str(built)], check=True)
        # One that even Python's own start imports.
        (site / "courseware").mkdir()
        (site / "courseware" / "__init__.py").write_text("SOLUTION = 42\n")
        (site / "courseware.pth").write_text("import courseware\n")
        yield root


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.mark.proof
@pytest.mark.slow
@ON_LINUX
@pytest.mark.parametrize("user", ["root", "ordinary"])
@pytest.mark.parametrize("level", ["full", "partial"])
def test_what_is_installed_beside_the_harness_is_out_of_reach(installed, level, user):
    if user == "root" and os.geteuid():
        pytest.skip("only root can grade as root")
    if level == "full":
        needs("bwrap")
    folder = Path(tempfile.mkdtemp(prefix="class-", dir=installed))
    (folder / "class").mkdir()
    (site,) = (installed / "env" / "lib").glob("python*/site-packages")
    spy = SPY.replace("@SITE@", repr(str(site)))
    (folder / "class" / "spy.py").write_text(f"{RIGHT}\n{spy}", encoding="utf-8")
    prefix: list[str] = []
    if user == "ordinary":
        prefix = as_ordinary_user()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, ORDINARY, ORDINARY)
    command = [f"{installed}/env/bin/python", "-m", "grading.cli", "grade", "class"]
    options = ["--assignment", "many-neurons", "--out", "out", "--isolation", level]
    done = subprocess.run(
        [*prefix, *command, *options],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out" / "results.jsonl").read_text(encoding="utf-8"))
    assert [line["text"].rpartition(" raised ")[2] for line in result["advice"]] == [
        "LookupError: all held."
    ]
    assert result["score"] == 10


def test_a_package_that_is_not_installed_is_the_graders_fault():
    with pytest.raises(SpawnerError, match="not-to-be-had is not installed"):
        Zygote(["partial"], ["not-to-be-had"])


@pytest.mark.proof
@ON_LINUX
def test_a_class_can_use_the_packages_of_its_assignment(tmp_path):
    settings = tmp_path / "solutions" / "many-neurons" / "assignment.toml"
    settings.parent.mkdir(parents=True)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "alice.py").write_text(f"import scipy.special\n{RIGHT}")

    def grade(packages: list[str]) -> subprocess.CompletedProcess[str]:
        settings.write_text(f'assignment = "many-neurons"\npackages = {json.dumps(packages)}\n')
        command = [sys.executable, "-m", "grading.cli", "grade", "class", "--out", "out"]
        return subprocess.run(
            [*command, "--assignment", "many-neurons"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )

    def advice() -> str:
        line = json.loads((tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8"))
        return " ".join(each["text"] for each in line["advice"])

    assert grade([]).returncode == 0
    assert "No module named 'scipy'" in advice()
    # What is finished under other packages is not finished.
    assert grade(["scipy"]).returncode == 0
    assert advice() == ""
    refused = grade(["not-to-be-had"])
    assert refused.returncode == 2
    assert "not-to-be-had is not installed" in refused.stderr
    assert "Traceback" not in refused.stderr


def linked_tree(source: Path, target: Path) -> None:
    """Link each file by itself, as some installers do."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.symlink)
    else:
        target.symlink_to(source)


def environment(root: Path, how: str) -> Path:
    """An environment whose packages lie elsewhere; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "env"], check=True)
    (site,) = (root / "env" / "lib").glob("python*/site-packages")
    if how == "path":
        (site / "elsewhere.pth").write_text(SITE)
        return root / "env" / "bin" / "python"
    found = Software.installed()
    for path in map(Path, (*found.packages, *found.own, f"{SITE}/pyseccomp.py")):
        if how == "files":
            linked_tree(path, site / path.name)
        else:
            (site / path.name).symlink_to(path)
    return root / "env" / "bin" / "python"


IN_A_CHILD = """
from grading.sandbox.remote import RemoteCandidate
from grading.sandbox.zygote import Zygote
from grading.parsing.source import Cell, Source
from harness.course.settings import Limits
lines = "import torch.utils.data, sympy, numpy.f2py, importlib.metadata as m; m.version('torch')"
with Zygote(["full"]) as zygote:
    source = Source((Cell("a.py", lines),), notebook=False)
    with RemoteCandidate(zygote, source, Limits()) as remote:
        print(remote.definition)
"""


@pytest.mark.slow
@ON_LINUX
@pytest.mark.parametrize(
    "how", ["folders", *(pytest.param(each, marks=pytest.mark.proof) for each in ("path", "files"))]
)
def test_packages_that_lie_elsewhere_are_there_in_bubblewrap_too(tmp_path, how):
    needs("bwrap")
    python = environment(tmp_path, how)
    done = subprocess.run(
        [python, "-c", IN_A_CHILD],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "failed=(), unusable=''" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@ON_LINUX
def test_a_folder_that_bubblewrap_does_not_show_is_named_in_a_sentence(tmp_path):
    needs("bwrap")
    (tmp_path / "elsewhere").mkdir()
    broken = tmp_path / "packages" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import torch.inner.code\n")
    (broken / "inner").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "code.py").touch()
    program = """
    import sys
    from grading.sandbox.zygote import _Warm
    from grading.confined.spawner import SpawnerError
    from grading.confined.software import Software
    from msgspec.structs import replace
    found = Software.installed()
    rest = [each for each in found.packages if not each.endswith("/torch")]
    folder = sys.argv[1]
    folders, packages = [folder, *found.folders], [*rest, folder + "/torch"]
    try:
        _Warm("full", replace(found, folders=folders, packages=packages)).wait()
    except SpawnerError as error:
        print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), broken.parent],
        env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{broken / 'inner'} leads to {tmp_path / 'elsewhere'}" in done.stdout
    assert "ModuleNotFoundError: No module named 'torch.inner" in done.stdout
    assert "Traceback" not in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
@ON_LINUX
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's children become another user")
def test_roots_children_are_another_user_who_reads_no_more_than_landlock_leaves(tmp_path):
    """Even where the interpreter lies in a folder that only root can look into."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    with Zygote(["partial"]) as zygote:
        assert not zygote.as_root
        said = failures(
            zygote,
            "import os; assert {*os.getresuid(), *os.getresgid(), *os.getgroups()} == {65534}",
            f"open({str(tmp_path / 'secret')!r})",
            "os.setuid(0)",
            "import sympy",
        )
    assert [kind for kind, _ in said] == ["PermissionError", "PermissionError"]


@pytest.mark.slow
@ON_LINUX
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's children can stay root")
def test_where_roots_children_have_to_stay_root_the_doctor_says_so():
    needs("setpriv")
    if not closed_folders():
        pytest.skip("any user can read this interpreter")
    lacking = ["setpriv", "--inh-caps=-dac_read_search", "--bounding-set=-dac_read_search"]
    done = subprocess.run(
        [*lacking, sys.executable, "-m", "grading.cli", "doctor"],
        env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "✓ partial" in done.stdout, done.stderr
    assert "stay root, because no other user can read this Python" in done.stdout


@pytest.mark.slow
@ON_LINUX
@pytest.mark.proof
def test_results_that_children_of_root_had_a_part_in_say_so_also_when_resumed(tmp_path):
    """As in a container that has no user but root."""
    needs("bwrap")
    alone = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", "0", "--gid", "0"]
    tried = subprocess.run([*alone, "true"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip("this system lets nobody make a user namespace")
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-m", "grading.cli", "grade", "in", "--assignment", "one-neuron"]

    def says_root(name: str, prefix: list[str]) -> bool:
        (tmp_path / "in" / f"{name}.py").write_text("x = 1")
        done = subprocess.run(
            [*prefix, *command, "--out", "out", "--isolation", "partial", "--workers", "1"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return "as_root" in json.loads((tmp_path / "out" / "run.json").read_text())

    assert says_root("alice", alone)
    assert says_root("alice", alone)
    assert says_root("bob", [])
