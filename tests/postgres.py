"""A real PostgreSQL server, for a test's own use."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.users import needs

# Where Debian keeps what is not on PATH.
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@contextmanager
def postgresql() -> Iterator[Path]:
    """A server that listens in the folder it gives, and nowhere else, until the block is left."""
    path = os.pathsep.join([*map(str, PLACES), os.environ.get("PATH", "")])
    initdb, server = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    if initdb is None or server is None:
        needs("initdb")
    # It refuses to run as root. A socket's path is short.
    other: dict[str, Any] = {}
    if not os.geteuid():
        other = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        if other:
            shutil.chown(folder, "postgres", "postgres")

        def run(*command: str) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **other)

        data, log = str(folder / "data"), str(folder / "log")
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run(str(initdb), "-D", data, "-U", "grader", "-A", "trust", "--no-sync", "-E", "UTF8")
        run(str(server), "-D", data, "-l", log, "-o", settings, "-w", "start")
        try:
            yield folder
        finally:
            run(str(server), "-D", data, "-m", "immediate", "-w", "stop")
