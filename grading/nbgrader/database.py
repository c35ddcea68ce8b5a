"""nbgrader's gradebook in SQLite or PostgreSQL, one writer at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from nbgrader.api import Base, Gradebook, InvalidEntry
from nbgrader.dbutil import ALEMBIC_DIR
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from tornado.log import app_log

from harness.errors import UserError

# How often a transaction is tried, and how many seconds SQLite waits for another writer each time.
TRIES = 3
WAIT_SECONDS = 10
# The number of PostgreSQL's advisory lock, which also holds where there are no tables yet.
ADVISORY_LOCK = 0x6261636B

Value = TypeVar("Value")


class _Joined(Gradebook):  # type: ignore[misc]
    """nbgrader's gradebook in a transaction that its own commits do not end."""

    authenticator = None

    def __init__(self, session: Session, course_id: str) -> None:
        self.db, self.course_id = session, course_id


@dataclass(frozen=True)
class Database:
    """An open gradebook."""

    engine: Engine
    course_id: str

    def alone(self, action: Callable[[Gradebook], Value]) -> Value:
        """Return what the action returns, done in one transaction that keeps other writers out.

        nbgrader's own commands do not ask for the lock first: where they were in the way, the
        transaction is tried again from its start.
        """
        attempt = 1
        while True:
            try:
                with self.engine.begin() as connection, Session(connection) as session:
                    _lock(connection)
                    value = action(_Joined(session, self.course_id))
                    session.commit()
                return value
            except DBAPIError:
                if attempt == TRIES:
                    raise
            attempt += 1


@contextmanager
def opened(url: str, course_id: str) -> Iterator[Database]:
    """Open the gradebook at ``url``, which is made where there is none, whole or not at all.

    Raise UserError if that, or anything done in the block, is refused.
    """
    address = _address(url)
    shown = address.render_as_string()  # without the password
    sqlite = address.get_backend_name() == "sqlite"
    # nbgrader logs a traceback for each refusal.
    before, app_log.disabled = app_log.disabled, True
    try:
        engine = create_engine(address, connect_args={"timeout": WAIT_SECONDS} if sqlite else {})
        database = Database(engine, course_id)
        try:
            database.alone(_complete)
            yield database
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise UserError(
            f"{shown} needs {error.name}, which is not installed: "
            "pip install 'backprop-harness[postgresql]' and try again."
        ) from None
    except (SQLAlchemyError, InvalidEntry) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"The gradebook {shown} cannot be used ({said}). Check the address, and run "
            "`nbgrader db upgrade` if nbgrader has been updated."
        ) from None
    finally:
        app_log.disabled = before


def _lock(connection: Connection) -> None:
    """Wait until nobody else writes to the gradebook, and keep it so until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    there = inspect(connection).get_table_names()
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables if table.name in there)
    if tables:
        connection.exec_driver_sql(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")


def _complete(gradebook: Gradebook) -> None:
    """Make what is not there yet of the tables, their version and the course."""
    connection = gradebook.db.connection()
    is_new = not inspect(connection).get_table_names()
    Base.metadata.create_all(connection)
    if is_new:
        MigrationContext.configure(connection).stamp(ScriptDirectory(ALEMBIC_DIR), "head")
    gradebook.check_course(gradebook.course_id)


def _address(url: str) -> URL:
    """Return the address with a driver. Raise UserError for one that cannot be used."""
    shown, kind = repr(url), ""
    with suppress(ArgumentError):
        address = make_url(url)
        shown, kind = address.render_as_string(), address.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise UserError(
            f"{shown} is not the URL of a SQLite or PostgreSQL database; expected, for example, "
            "sqlite:///gradebook.db or postgresql://user:password@host/name."
        )
    if address.drivername == "postgresql":
        # Versions of SQLAlchemy differ in their default driver.
        address = address.set(drivername="postgresql+psycopg2")
    if kind == "postgresql":
        return address
    if not address.database or address.database == ":memory:":
        raise UserError(f"{shown} names no file; expected, for example, sqlite:///grades.db.")
    folder = Path(address.database).parent
    if not folder.is_dir():
        raise UserError(f"{shown} cannot be created: there is no folder {folder}.")
    return address
