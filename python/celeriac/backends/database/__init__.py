"""Results in an SQL database, in Celery's tables, through SQLAlchemy (`db+...://`).

Source:
    celery 5.7 ``backends/database`` (settings, columns, what is tried again).
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.backends.core import BaseBackend
from celeriac.backends.opening import imported
from celeriac.exceptions import ContentDisallowed, DecodeError, ImproperlyConfigured
from celeriac.serialization import loads
from celeriac.timestamps import seconds

try:
    import sqlalchemy as sa
    from sqlalchemy.exc import DatabaseError, InterfaceError
except ImportError as exc:
    _MISSING = (
        "Results in a database need SQLAlchemy and the database's driver: "
        "pip install 'celeriac[sqlalchemy]' (and psycopg for PostgreSQL)."
    )
    raise ImproperlyConfigured(_MISSING) from exc

from celeriac.backends.database import tables

if TYPE_CHECKING:
    from celeriac._protocols import App

logger = logging.getLogger("celeriac.backends")

#: How often an operation is tried again where no setting says so: as Celery's database backend.
MAX_RETRIES = 3
_PICKLE = b"\x80"
_IN_GROUP = "result"


def _close(engine: sa.Engine, pid: int) -> None:
    if os.getpid() == pid:
        engine.dispose()


class DatabaseBackend(BaseBackend):
    """Keeps each result in a row.

    Args:
        app: The application.
        url: SQLAlchemy's URL; `database_url` by default.
        dburi: An older name of `url`.
        engine_options: Added to `database_engine_options`.
        **options: Those of `Backend`.

    """

    subpolling_interval = 0.5

    def __init__(
        self,
        app: App,
        url: str | None = None,
        dburi: str | None = None,
        engine_options: Any = None,
        **options: Any,
    ) -> None:
        conf = app.conf
        url = url or dburi or conf.database_url
        if not url:
            message = "Results in a database need its URL: result_backend='db+sqlite:///results.db'"
            raise ImproperlyConfigured(message)
        super().__init__(app, url=url, **options)
        # Compat: this backend tries again without being asked to.
        self.always_retry = bool(self.always_retry) or not conf.is_set(
            "result_backend_always_retry"
        )
        if not conf.is_set("result_backend_max_retries"):
            self.max_retries = MAX_RETRIES
        self.engine_options = {**(conf.database_engine_options or {}), **(engine_options or {})}
        self._tables = tables.describe(
            conf.database_table_names,
            conf.database_table_schemas,
            extended=conf.result_extended,
        )
        self._mutex = threading.Lock()
        # An engine does not work in a fork. What a fork inherited is kept, and never touched.
        self._engines: dict[int, tuple[sa.Engine, set[str]]] = {}

    def exception_safe_to_retry(self, exc: BaseException) -> bool:  # noqa: D102 - inherited
        return isinstance(exc, (DatabaseError, InterfaceError))

    def dispose(self) -> None:
        """Close this process's connections; the next operation opens others."""
        with self._mutex:
            known = self._engines.pop(os.getpid(), None)
        if known is not None:
            known[0].dispose()

    # Connections -------------------------------------------------------------------------------

    def _open(self) -> tuple[sa.Engine, set[str]]:
        """Return this process's engine, and the columns that the table of tasks has.

        Returns:
            Both; the tables exist, unless `database_create_tables_at_setup` forbids it.
        """
        with self._mutex:
            known = self._engines.get(os.getpid())
            if known is None:
                engine = self._engine()
                if self.app.conf.database_create_tables_at_setup:
                    tables.create(engine, self._tables)
                known = engine, tables.existing(engine, self._tables.tasks)
                self._engines[os.getpid()] = known
                # Python 3.13 warns of connections that nobody closes.
                weakref.finalize(self, _close, engine, os.getpid())
            return known

    def _engine(self) -> sa.Engine:
        # Errors are logged: they must not show the results of tasks.
        conf, options = self.app.conf, {"hide_parameters": True, **self.engine_options}
        if conf.database_short_lived_sessions:
            options = {key: options[key] for key in options if not _is_of_pool(key)}
            options["poolclass"] = sa.pool.NullPool
        engine = sa.create_engine(self.url or "", **options)
        callback = conf.database_engine_callback
        if callback is not None:
            callback = imported(callback) if isinstance(callback, str) else callback
            callback(engine)
        return engine

    # Tasks -------------------------------------------------------------------------------------

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_kwargs: Any,
    ) -> Any:
        engine, columns = self._open()
        row = {
            name: value
            for name, value in self._row(result, state, traceback, request).items()
            if name in columns
        }
        table = self._tables.tasks
        with engine.begin() as connection:
            mine = table.c.task_id == task_id
            known = connection.execute(sa.select(table.c.id).where(mine).with_for_update()).first()
            if known is None:
                connection.execute(table.insert().values(task_id=task_id, **row))
            else:
                # What a second run brings does not replace a success.
                is_open = table.c.status != states.SUCCESS
                connection.execute(table.update().where(mine, is_open).values(**row))
        return result

    def _row(self, result: Any, state: str, traceback: Any, request: Any) -> dict[str, Any]:
        meta = self._get_result_meta(
            self.encode(result), state, traceback, request, format_date=False, encode=True
        )
        names = {column.name for column in self._tables.tasks.columns} - {"id", "task_id"}
        row = {name: meta.get(name) for name in names}
        row["date_done"] = _wall_clock(meta["date_done"])
        row["children"] = self.encode(meta["children"]) if meta["children"] else None
        stamped = meta.get("stamped_headers")
        if stamped and "stamps" in names:
            stamps = {name: meta[name] for name in stamped if name in meta}
            row["stamps"] = self.encode({"stamped_headers": list(stamped), "stamps": stamps})
        return row

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        engine, columns = self._open()
        table = self._tables.tasks
        wanted = [column for column in table.columns if column.name in columns - {"id"}]
        with engine.connect() as connection:
            found = connection.execute(sa.select(*wanted).where(table.c.task_id == task_id))
            row = found.mappings().first()
        if row is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        meta = {**row, "result": self._decoded(row["result"])}
        for name in ("args", "kwargs", "children"):
            if meta.get(name) is not None:
                meta[name] = self.decode(meta[name])
        stamps = meta.pop("stamps", None)
        if stamps is not None:
            described = self.decode(stamps)
            meta.update(stamped_headers=described["stamped_headers"], **described["stamps"])
        return self.meta_from_decoded(meta)

    def _decoded(self, payload: bytes | None) -> Any:
        if payload is None:
            return None
        try:
            return self.decode(payload)
        except (DecodeError, ContentDisallowed):
            # Compat: Celery before 5.7 pickled this column, whatever the serializer was.
            if bytes(payload[:1]) != _PICKLE:
                raise
            logger.warning("A result of an older Celery is read, which is a pickle")
            return loads(bytes(payload), "pickle")

    def _forget(self, task_id: str) -> None:
        table = self._tables.tasks
        self._delete(table.delete().where(table.c.task_id == task_id))

    def _delete(self, statement: Any) -> None:
        engine, _ = self._open()
        with engine.begin() as connection:
            connection.execute(statement)

    # Groups ------------------------------------------------------------------------------------

    def _save_group(self, group_id: str, result: Any) -> Any:
        engine, _ = self._open()
        row = {
            _IN_GROUP: self.encode(self.prepare_value(result)),
            "date_done": _wall_clock(self.app.now()),
        }
        with engine.begin() as connection:
            connection.execute(self._tables.groups.insert().values(taskset_id=group_id, **row))
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        engine, _ = self._open()
        table = self._tables.groups
        with engine.connect() as connection:
            found = connection.execute(sa.select(table).where(table.c.taskset_id == group_id))
            row = found.mappings().first()
        if row is None:
            return None
        described = self._decoded(row[_IN_GROUP])
        handle = None if described is None else self.handle_of(described)
        return {
            "taskset_id": row["taskset_id"],
            "result": handle,
            "date_done": row["date_done"],
        }

    def _delete_group(self, group_id: str) -> None:
        table = self._tables.groups
        self._delete(table.delete().where(table.c.taskset_id == group_id))

    # Expired -----------------------------------------------------------------------------------

    def cleanup(self) -> None:
        """Delete the rows that are older than `result_expires`."""
        expires_s = seconds(self.expires)
        if not expires_s:
            return
        oldest = _wall_clock(self.app.now() - timedelta(seconds=expires_s))
        for table in (self._tables.tasks, self._tables.groups):
            self._ensure_retryable(self._delete, table.delete().where(table.c.date_done < oldest))


def _wall_clock(moment: datetime | None) -> datetime | None:
    # Compat: the column has no offset, and Celery writes the time of the application's zone.
    return None if moment is None else moment.replace(tzinfo=None)


def _is_of_pool(option: str) -> bool:
    return option.startswith("pool") or option in {"max_overflow", "echo_pool"}
