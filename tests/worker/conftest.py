import pytest

from celeriac import Celery, _current


@pytest.fixture
def app(request, monkeypatch):
    # Tasks are shared with every app that is finalized later, as in Celery: not between tests.
    builtin = {each for each in _current._finalizers if each.__module__ == "celeriac.app.builtins"}
    monkeypatch.setattr(_current, "_finalizers", builtin)
    name = request.node.name.replace("[", "-").replace("]", "")
    app = Celery("t", broker=f"memory://{name}", backend=f"memory://{name}", set_as_current=False)
    yield app
    app.close()
