"""How many workers are started, on machines and in containers of every size."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.runs import start
from grading.workers.capacity import available_mib, needed_mib, workers_that_fit

MIB = 2**20
MEMINFO = "MemTotal: 16384000 kB\nMemAvailable:   8192000 kB\n"  # 8000 MiB
V1_LIMIT_OF_NONE = 9223372036854771712


def machine(root, *, cgroup="", mounts=(), files=None):
    """A file system root that tells what a machine's kernel would."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text(
        "".join(f"30 20 0:1 / {where} rw - {kind}\n" for where, kind in mounts)
    )
    for name, text in (files or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v2(folder, limit, used, inactive=0):
    return {
        f"{folder}/memory.max": limit,
        f"{folder}/memory.current": used,
        f"{folder}/memory.stat": f"anon 1\ninactive_file {inactive}",
    }


def v1(folder, limit, used, inactive=0):
    return {
        f"{folder}/memory.limit_in_bytes": limit,
        f"{folder}/memory.usage_in_bytes": used,
        f"{folder}/memory.stat": f"cache 1\ntotal_inactive_file {inactive}",
    }


CGROUP2 = [("/sys/fs/cgroup", "cgroup2 cgroup2 rw")]
CGROUP1 = [("/sys/fs/cgroup/memory", "cgroup cgroup rw,memory")]
GROUP2, GROUP1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("told", "mib"),
    [
        pytest.param({}, 8000, id="no control groups"),
        pytest.param(
            {"cgroup": "0::/a/b\n", "mounts": CGROUP2, "files": v2(f"{GROUP2}/a/b", "max", 1)},
            8000,
            id="a group without a limit",
        ),
        pytest.param(
            {
                "cgroup": "0::/a/b\n",
                "mounts": CGROUP2,
                "files": v2(f"{GROUP2}/a/b", 1000 * MIB, 300 * MIB, 100 * MIB),
            },
            800,
            id="version 2",
        ),
        pytest.param(
            {
                "cgroup": "0::/a/b\n",
                "mounts": CGROUP2,
                "files": v2(f"{GROUP2}/a", 500 * MIB, 0) | v2(f"{GROUP2}/a/b", 1000 * MIB, 0),
            },
            500,
            id="a group around it has less",
        ),
        pytest.param(
            {"cgroup": "0::/\n", "mounts": CGROUP2, "files": v2(GROUP2, 700 * MIB, 0)},
            700,
            id="a container of version 2",
        ),
        pytest.param(
            {
                "cgroup": "4:cpu:/\n3:memory:/a\n0::/\n",
                "mounts": CGROUP1,
                "files": v1(f"{GROUP1}/a", 600 * MIB, 100 * MIB, 50 * MIB)
                | v1(GROUP1, V1_LIMIT_OF_NONE, 0),
            },
            550,
            id="version 1",
        ),
        pytest.param(
            {
                "cgroup": "3:memory:/docker/0123\n",
                "mounts": CGROUP1,
                "files": v1(GROUP1, 900 * MIB, 1000 * MIB),
            },
            0,
            id="a container of version 1, full",
        ),
    ],
)
def test_what_is_available_is_what_the_machine_or_its_container_has_left(tmp_path, told, mib):
    assert available_mib(machine(tmp_path, **told)) == mib


def test_a_system_that_does_not_tell_has_room_for_all(tmp_path):
    assert available_mib(tmp_path) == math.inf
    assert workers_that_fit(64, 2048, math.inf) == 64


@given(st.integers(1, 100), st.integers(1, 10_000), st.integers(0, 10**6))
def test_as_many_workers_fit_as_have_room_and_one_always(wanted, memory, available):
    fit = workers_that_fit(wanted, memory, available)
    assert 1 <= fit <= wanted
    assert fit == 1 or needed_mib(fit, memory) <= available
    assert fit == wanted or needed_mib(fit + 1, memory) > available


class TestWhatIsSaid:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(start, "available_mib", lambda: 5000.0)
        monkeypatch.setattr(start, "cores", lambda: 4)

    def test_nothing_where_memory_suffices(self, capsys):
        assert start.worker_count(None, 100, 512) == 4
        assert start.worker_count(2, 100, 2048) == 2
        assert start.worker_count(None, 1, 2048) == 1
        assert capsys.readouterr().err == ""

    def test_fewer_workers_are_started_where_it_does_not(self, capsys):
        assert start.worker_count(None, 100, 2048) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "4 workers may need 8.8 GiB" in said and "4.9 GiB are available" in said
        assert "Grading with 2; --workers 4 overrides this." in said

    def test_who_asks_for_more_is_warned(self, capsys):
        assert start.worker_count(3, 100, 2048) == 3
        said = " ".join(capsys.readouterr().err.split())
        assert "3 workers may need" in said and "is graded again, alone" in said

    def test_who_has_room_for_none_is_warned(self, capsys):
        assert start.worker_count(None, 100, 8192) == 1
        assert "Grading with 1" in " ".join(capsys.readouterr().err.split())
