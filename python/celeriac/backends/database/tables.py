"""Celery's tables: `celery_taskmeta` and `celery_tasksetmeta`.

Source:
    celery 5.7 ``backends/database/models.py`` (names and types); protocol: database.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

logger = logging.getLogger("celeriac.backends")

TASKS = "celery_taskmeta"
GROUPS = "celery_tasksetmeta"
_CREATE_TRIES = 10

_INTEGER = sa.Integer().with_variant(sa.BigInteger, "mssql")


class Tables(NamedTuple):
    """Both tables, as they are named here."""

    metadata: sa.MetaData
    tasks: sa.Table
    groups: sa.Table


def describe(names: Any, schemas: Any, *, extended: bool) -> Tables:
    """Describe the tables of an application.

    Args:
        names: `database_table_names`: ``task`` and ``group`` to names.
        schemas: `database_table_schemas`, the same to schemas.
        extended: Whether there are columns for `result_extended`.

    Returns:
        The tables; nothing is created.
    """
    names, schemas, metadata = names or {}, schemas or {}, sa.MetaData()
    tasks = sa.Table(
        names.get("task") or TASKS,
        metadata,
        _id("task_id_sequence", schemas.get("task")),
        sa.Column("task_id", sa.String(155), unique=True),
        sa.Column("status", sa.String(50)),
        sa.Column("result", sa.LargeBinary, nullable=True),
        sa.Column("date_done", sa.DateTime, nullable=True, index=True),
        sa.Column("traceback", sa.Text, nullable=True),
        sa.Column("children", sa.LargeBinary, nullable=True),
        *(_extended() if extended else ()),
        schema=schemas.get("task"),
        sqlite_autoincrement=True,
    )
    groups = sa.Table(
        names.get("group") or GROUPS,
        metadata,
        _id("taskset_id_sequence", schemas.get("group")),
        sa.Column("taskset_id", sa.String(155), unique=True),
        sa.Column("result", sa.LargeBinary, nullable=True),
        sa.Column("date_done", sa.DateTime, nullable=True, index=True),
        schema=schemas.get("group"),
        sqlite_autoincrement=True,
    )
    return Tables(metadata, tasks, groups)


def _id(sequence: str, schema: str | None) -> sa.Column[Any]:
    number = sa.Sequence(sequence, schema=schema)
    return sa.Column("id", _INTEGER, number, primary_key=True, autoincrement=True)


def _extended() -> list[sa.Column[Any]]:
    return [
        sa.Column("name", sa.String(155), nullable=True),
        sa.Column("args", sa.LargeBinary, nullable=True),
        sa.Column("kwargs", sa.LargeBinary, nullable=True),
        sa.Column("worker", sa.String(155), nullable=True),
        sa.Column("retries", sa.Integer, nullable=True),
        sa.Column("queue", sa.String(155), nullable=True),
        sa.Column("stamps", sa.LargeBinary, nullable=True),
    ]


def create(engine: sa.Engine, tables: Tables) -> None:
    """Create what is missing; of tables that an older Celery has made, the columns.

    Args:
        engine: The database.
        tables: The tables.

    Raises:
        sqlalchemy.exc.DatabaseError: The database cannot be reached, or refuses.
    """
    for left in reversed(range(_CREATE_TRIES)):
        try:
            tables.metadata.create_all(engine)
            break
        except DatabaseError:
            # Another process creates them at this moment: the next look finds them.
            if not left:
                raise
    for table in (tables.tasks, tables.groups):
        for column in table.columns:
            if column.name not in existing(engine, table):
                _add(engine, table, column)


def existing(engine: sa.Engine, table: sa.Table) -> set[str]:
    """List the columns that a table has in the database.

    Args:
        engine: The database.
        table: The table.

    Returns:
        Their names.
    """
    found = sa.inspect(engine).get_columns(table.name, schema=table.schema)
    return {column["name"] for column in found}


def _add(engine: sa.Engine, table: sa.Table, column: sa.Column[Any]) -> None:
    quoted = engine.dialect.identifier_preparer
    kind = column.type.compile(engine.dialect)
    where, name = quoted.format_table(table), quoted.quote(column.name)
    statement = f"ALTER TABLE {where} ADD COLUMN {name} {kind}"
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(statement))
    except DatabaseError as exc:
        logger.warning(
            "Column %s of %s is missing and cannot be added (%s); results are stored without it. "
            "Execute: %s",
            column.name,
            table.name,
            type(exc).__name__,
            statement,
        )
