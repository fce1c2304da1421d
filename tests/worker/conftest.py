import pytest

from celeriac import Celery


@pytest.fixture
def app(request):
    name = request.node.name.replace("[", "-").replace("]", "")
    app = Celery("t", broker=f"memory://{name}", backend=f"memory://{name}", set_as_current=False)
    yield app
    app.close()
