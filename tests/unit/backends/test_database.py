"""Results in Celery's tables, shared with Celery's own database backend."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import celery
import pytest
import sqlalchemy as sa

from celeriac import Celery, states
from celeriac.app.context import Context
from celeriac.backends.database import DatabaseBackend
from celeriac.exceptions import ImproperlyConfigured

TASK_ID = "b6f8fa1a-9c1d-4f5e-8b2f-0a1b2c3d4e5f"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"db+sqlite:///{tmp_path}/results.db"
        return
    server = request.getfixturevalue("postgres_server")
    server = server.replace("postgresql://", "postgresql+psycopg://")
    name = f"celeriac_{os.getpid()}_{threading.get_ident()}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield f"db+{server.rpartition('/')[0]}/{name}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def make(url):
    opened = []

    def make(package=Celery, **settings):
        app = package("p", broker="memory://", backend=url, set_as_current=False)
        app.conf.update(settings)
        opened.append(app.backend)
        return app

    yield make
    for backend in opened:
        if isinstance(backend, DatabaseBackend):
            backend.dispose()


def request_of(task_id=TASK_ID):
    return Context(
        id=task_id,
        task="tasks.add",
        args=[1, 2],
        kwargs={"x": "ü"},
        hostname="w1@here",
        retries=1,
        delivery_info={"routing_key": "q"},
        stamped_headers=["colour"],
        stamps={"colour": ["red"]},
        children=[],
    )


RESULTS = [
    ({"a": [1, None, "ü"]}, states.SUCCESS, None),
    (KeyError("k", 1), states.FAILURE, "Traceback: ..."),
    ({"done": 3}, "PROGRESS", None),
]


@pytest.mark.parametrize("extended", [False, True])
def test_a_row_of_either_side_is_read_by_the_other(make, extended):
    ours = make(result_extended=extended).backend
    theirs = make(celery.Celery, result_extended=extended).backend
    for writer, reader in ((ours, theirs), (theirs, ours)):
        for value, state, text in RESULTS:
            task_id = f"{type(writer).__module__}-{state}"
            writer.store_result(task_id, value, state, text, request=request_of(task_id))
            found, expected = reader.get_task_meta(task_id), writer.get_task_meta(task_id)
            assert repr(sorted(found.items())) == repr(sorted(expected.items()))
            assert found["status"] == state
            assert found["traceback"] == text
            if extended:
                assert (found["args"], found["name"]) == ([1, 2], "tasks.add")
                assert (found["stamped_headers"], found["colour"]) == (["colour"], ["red"])


def test_the_stored_bytes_are_celerys(make):
    ours, theirs = make(result_extended=True).backend, make(celery.Celery).backend
    table = sa.table("celery_taskmeta", *map(sa.column, ("task_id", "result", "children", "args")))
    ours.store_result("ours", {"a": [1]}, states.SUCCESS, request=request_of())
    theirs.store_result("theirs", {"a": [1]}, states.SUCCESS, request=request_of())
    engine, _ = ours._open()
    with engine.connect() as connection:
        rows = {row[0]: row[1:] for row in connection.execute(sa.select(table))}
    assert bytes(rows["ours"][0]) == bytes(rows["theirs"][0]) == b'{"a": [1]}'
    assert bytes(rows["ours"][2]) == b"[1, 2]"


def test_a_success_is_not_replaced(make):
    backend = make().backend
    backend.store_result(TASK_ID, 1, states.SUCCESS)
    backend.store_result(TASK_ID, ValueError("late"), states.FAILURE)
    assert backend.get_result(TASK_ID) == 1


def test_many_threads_that_store_one_result_first_leave_one_row(make):
    backend = make().backend
    threads = [
        threading.Thread(target=backend.store_result, args=(TASK_ID, n, states.STARTED))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine, _ = backend._open()
    with engine.connect() as connection:
        count = connection.execute(sa.text("SELECT count(*) FROM celery_taskmeta")).scalar()
    assert count == 1
    assert backend.get_state(TASK_ID) == states.STARTED


def test_groups_are_shared(make):
    app, theirs = make(), make(celery.Celery)
    app.backend.save_group("g1", app.GroupResult("g1", [app.AsyncResult("a")]))
    theirs.backend.save_group("g2", theirs.GroupResult("g2", [theirs.AsyncResult("b")]))
    assert [one.id for one in theirs.backend.restore_group("g1")] == ["a"]
    assert [one.id for one in app.backend.restore_group("g2")] == ["b"]
    app.backend.delete_group("g2")
    assert app.backend.restore_group("g2") is None


def test_names_of_tables_are_the_settings(make):
    backend = make(database_table_names={"task": "mytasks", "group": "mygroups"}).backend
    backend.store_result(TASK_ID, 1, states.SUCCESS)
    assert {"mytasks", "mygroups"} <= set(sa.inspect(backend._open()[0]).get_table_names())


def test_expired_rows_are_cleaned_up_and_others_stay(make):
    backend = make(result_expires=3600).backend
    backend.store_result("old", 1, states.SUCCESS)
    backend.store_result("new", 2, states.SUCCESS)
    with backend._open()[0].begin() as connection:
        old = "UPDATE celery_taskmeta SET date_done = '2020-01-01 00:00:00' WHERE task_id = 'old'"
        connection.execute(sa.text(old))
    backend.cleanup()
    assert backend.get_state("old") == states.PENDING
    assert backend.get_state("new") == states.SUCCESS
    backend.forget("new")
    assert backend.get_state("new") == states.PENDING


OLD_TABLE = (
    "CREATE TABLE celery_taskmeta (id INTEGER PRIMARY KEY, task_id VARCHAR(155) UNIQUE, status "
    "VARCHAR(50), result {bytes}, date_done TIMESTAMP, traceback TEXT)"
)


def test_a_table_and_a_pickle_of_an_older_celery_are_read(make, url):
    import pickle

    engine = sa.create_engine(url.removeprefix("db+"), poolclass=sa.pool.NullPool)
    kind = "BYTEA" if engine.dialect.name == "postgresql" else "BLOB"
    with engine.begin() as connection:
        if kind == "BYTEA":
            connection.execute(sa.text("CREATE SEQUENCE task_id_sequence"))
        connection.execute(sa.text(OLD_TABLE.format(bytes=kind)))
        insert = "INSERT INTO celery_taskmeta (id, task_id, status, result) VALUES (7, :t, :s, :r)"
        row = {"t": "old", "s": "SUCCESS", "r": pickle.dumps({"a": 1}, protocol=2)}
        connection.execute(sa.text(insert), row)
    backend = make().backend
    assert backend.get_task_meta("old")["result"] == {"a": 1}
    backend.store_result("new", 2, states.SUCCESS, request=SimpleNamespace(children=[]))
    assert backend.get_result("new") == 2


def test_waiting_sees_what_another_thread_stores(make):
    app = make()
    timer = threading.Timer(0.05, app.backend.store_result, (TASK_ID, 7, states.SUCCESS))
    timer.start()
    assert app.AsyncResult(TASK_ID).get(timeout=20) == 7
    timer.join()


def test_a_database_that_is_not_there_is_an_error_after_three_tries(tmp_path, caplog):
    url = f"db+sqlite:///{tmp_path}/no/such/folder/results.db"
    backend = Celery("p", broker="memory://", backend=url, set_as_current=False).backend
    backend._sleep = lambda _: None
    with pytest.raises(Exception, match="unable to open database file"):
        backend.store_result(TASK_ID, 1, states.SUCCESS)
    assert caplog.text.count("store_result failed") == 3


def test_a_missing_url_and_a_missing_package_are_named(monkeypatch):
    app = Celery("p", broker="memory://", backend="database", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="URL"):
        _ = app.backend
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from celeriac import Celery\n"
        "Celery('p', broker='memory://', backend='db+sqlite:///x.db').backend"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'celeriac[sqlalchemy]'" in run.stderr
