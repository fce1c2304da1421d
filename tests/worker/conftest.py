import pytest

from celeriac import Celery, _current


@pytest.fixture
def app(request, monkeypatch):
    # Tasks are shared with every app that is finalized later, as in Celery: not between tests.
    monkeypatch.setattr(_current, "_finalizers", set(_current._finalizers))
    name = request.node.name.replace("[", "-").replace("]", "")
    app = Celery("t", broker=f"memory://{name}", backend=f"memory://{name}", set_as_current=False)
    yield app
    app.close()
