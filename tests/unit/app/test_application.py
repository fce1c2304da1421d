import pickle
import sys
import textwrap

import pytest

import celeriac
from celeriac import Celery, Task, _current, current_app, shared_task, signals
from celeriac.app.finding import find_app
from celeriac.exceptions import ImproperlyConfigured, NotRegistered


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_arguments_become_settings():
    app = Celery("x", broker="redis://b", backend="redis://r", include=["m"], set_as_current=False)
    assert (app.conf.broker_url, app.conf.result_backend) == ("redis://b", "redis://r")
    assert app.conf.include == ["m"]


def test_a_new_application_is_current():
    app = Celery("x")
    assert current_app._get_current_object() is app
    assert current_app.main == "x"


def test_a_task_is_made_when_first_used(app):
    made = []

    class Watched(Task):
        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            made.append(cls.__name__)

    @app.task(base=Watched)
    def lazy():
        return 1

    made.clear()
    assert lazy.name == f"{__name__}.lazy"
    assert made == ["lazy"]
    assert app.tasks[lazy.name]() == 1


def test_a_task_of_the_main_module_has_the_applications_name(app):
    assert app.gen_task_name("add", "__main__") == "proj.add"
    assert app.gen_task_name("add", "other.tasks") == "other.tasks.add"


def test_one_name_is_one_task(app):
    first = app.task(lambda: 1, name="same", lazy=False)
    assert app.task(lambda: 2, name="same", lazy=False) is first


def test_the_builtin_tasks_are_registered(app):
    assert {"celery.backend_cleanup", "celery.accumulate", "celery.map"} <= set(app.tasks)


def test_an_unknown_task_is_named(app):
    with pytest.raises(NotRegistered, match="nope"):
        _ = app.tasks["nope"]


def test_a_task_without_finalizing_by_itself_is_a_breach():
    app = Celery("x", set_as_current=False, autofinalize=False)
    with pytest.raises(RuntimeError, match="not finalized"):
        _ = app.tasks
    app.finalize()
    assert app.tasks


def test_finalizing_is_announced(app):
    seen = []
    app.on_after_finalize.connect(lambda sender, **_kw: seen.append(sender), weak=False)
    app.finalize()
    app.finalize()
    assert seen == [app]


def test_a_shared_task_belongs_to_every_application():
    @shared_task(name="shared.one")
    def one():
        return 1

    before, after = Celery("a", set_as_current=False), Celery("b")
    assert before.tasks["shared.one"] is not after.tasks["shared.one"]
    assert one.app is after
    assert one() == 1


def test_a_class_based_task_is_registered(app):
    class Adder(Task):
        name = "adder"

        def run(self, x, y):
            return x + y

    task = app.register_task(Adder())
    assert app.tasks["adder"] is task
    assert task(1, 2) == 3
    assert task.app is app


def test_a_class_based_task_without_name_gets_its_classs(app):
    class Nameless(Task):
        def run(self):
            return 1

    assert app.register_task(Nameless).name == f"{__name__}.Nameless"


def test_attributes_of_the_decorator_are_the_tasks(app):
    @app.task(bind=True, max_retries=7, acks_late=True, mine="x")
    def bound(self):
        return self

    assert (bound.max_retries, bound.acks_late, bound.mine) == (7, True, "x")
    assert bound().name == bound.name


def test_what_a_task_leaves_open_comes_from_the_settings(app):
    app.conf.update(task_serializer="msgpack", task_acks_late=True)
    task = app.task(lambda: 1, name="t")
    assert (task.serializer, task.acks_late, task.track_started) == ("msgpack", True, False)


def test_annotations_change_tasks(app):
    app.conf.task_annotations = {"*": {"rate_limit": "5/s"}, "t": {"max_retries": 9}}
    one, other = app.task(lambda: 1, name="t"), app.task(lambda: 1, name="u")
    assert (one.rate_limit, one.max_retries) == ("5/s", 9)
    assert (other.rate_limit, other.max_retries) == ("5/s", 3)


def test_a_configuration_module_is_read(app, module):
    app.config_from_object(module("conf_plain", "task_serializer = 'yaml'\nMINE = 3"))
    assert (app.conf.task_serializer, app.conf.MINE) == ("yaml", 3)
    assert app.conf.broker_url.startswith("memory://")


def test_a_configuration_class_is_read_with_a_namespace(app, module):
    name = module("conf_django", "class Settings:\n    CELERY_TASK_ACKS_LATE = True\n    DEBUG = 1")
    app.config_from_object(f"{name}:Settings", namespace="CELERY")
    assert app.conf.task_acks_late is True


def test_a_missing_configuration_is_an_error_when_it_is_read(app):
    app.config_from_object("no.such.module")
    with pytest.raises(ModuleNotFoundError):
        _ = app.conf.task_serializer
    app.config_from_object("no.such.module", silent=True)
    assert app.conf.task_serializer == "json"


def test_an_error_inside_of_a_configuration_is_the_users_own(app, module):
    app.config_from_object(module("conf_broken", "import not_there_either"), silent=False)
    with pytest.raises(ModuleNotFoundError, match="not_there_either"):
        _ = app.conf.task_serializer


def test_an_environment_variable_names_the_configuration(app, module, monkeypatch):
    monkeypatch.setenv("MY_CONFIG", module("conf_env", "task_serializer = 'yaml'"))
    app.config_from_envvar("MY_CONFIG")
    assert app.conf.task_serializer == "yaml"


def test_an_unset_variable_is_an_error_unless_silent(app):
    with pytest.raises(ImproperlyConfigured, match="NOT_SET_AT_ALL"):
        app.config_from_envvar("NOT_SET_AT_ALL")
    assert app.config_from_envvar("NOT_SET_AT_ALL", silent=True) is False


def test_defaults_are_overridden_by_everything(app):
    app.add_defaults({"task_serializer": "yaml", "result_expires": 5})
    app.conf.task_serializer = "json"
    assert (app.conf.task_serializer, app.conf.result_expires) == ("json", 5)


def test_tasks_are_discovered_when_a_worker_imports_its_modules(app, module):
    module("pkg_a.__init__", "")
    module("pkg_a.tasks", "loaded = True")
    module("pkg_b.__init__", "")
    app.autodiscover_tasks(["pkg_a", "pkg_b"])
    assert "pkg_a.tasks" not in sys.modules
    app.loader.import_default_modules()
    assert "pkg_a.tasks" in sys.modules


def test_without_packages_those_of_the_fixups_are_discovered(module):
    module("pkg_d.__init__", "")
    module("pkg_d.tasks", "loaded = True")
    module(
        "my_fixup",
        """
class Fixup:
    def __init__(self, app): self.app = app
    def autodiscover_tasks(self): return ["pkg_d"]
def nothing(app): return None
""",
    )
    app = Celery("proj", fixups=["my_fixup:Fixup", "my_fixup:nothing"], set_as_current=False)
    app.autodiscover_tasks()
    assert "pkg_d.tasks" not in sys.modules
    app.loader.import_default_modules()
    assert "pkg_d.tasks" in sys.modules


def test_a_fixup_that_is_not_there_is_an_error_at_once():
    with pytest.raises(ImportError, match="no_such_fixup"):
        Celery("proj", fixups=["no_such_fixup:Fixup"], set_as_current=False)


def test_an_error_inside_of_a_discovered_module_is_the_users_own(app, module):
    module("pkg_c.__init__", "")
    module("pkg_c.tasks", "import not_there_either")
    with pytest.raises(ModuleNotFoundError, match="not_there_either"):
        app.autodiscover_tasks(["pkg_c"], force=True)


def test_an_error_in_a_discovered_module_stops_the_worker_that_imports_it(app, module):
    module("pkg_e.__init__", "")
    module("pkg_e.tasks", "import not_there_at_all")
    app.autodiscover_tasks(["pkg_e"])
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        app.loader.init_worker()


def test_included_modules_are_imported_once_by_a_worker(app, module):
    app.conf.include = [module("included", "loaded = True")]
    heard = []
    signals.import_modules.connect(lambda **_kw: heard.append(1), sender=app, weak=False)
    app.loader.init_worker()
    app.loader.init_worker()
    assert "included" in sys.modules
    assert heard == [1]


@pytest.mark.parametrize("path", ["named", "named:app", "named.app"])
def test_an_application_is_found_by_its_path(module, path):
    module("named", "import celeriac\napp = celeriac.Celery('named', set_as_current=False)")
    assert find_app(path).main == "named"


def test_an_application_is_found_in_the_module_celery_of_a_package(module):
    module("prj.__init__", "")
    module("prj.celery", "import celeriac\nany_name = celeriac.Celery('p', set_as_current=False)")
    assert find_app("prj").main == "p"


def test_a_module_without_application_says_so(module):
    module("empty_one", "x = 1")
    with pytest.raises(AttributeError, match="empty_one"):
        find_app("empty_one")


def test_an_application_of_a_module_pickles_by_name(module):
    module("holder", "import celeriac\napp = celeriac.Celery('h', set_as_current=False)")
    found = find_app("holder")
    assert pickle.loads(pickle.dumps(found)) is found


def test_any_other_application_pickles_by_its_settings(app):
    app.conf.task_serializer = "yaml"
    copy = pickle.loads(pickle.dumps(app))
    assert copy is not app
    assert (copy.main, copy.conf.task_serializer) == ("proj", "yaml")
    assert copy.conf.broker_url == app.conf.broker_url


def test_a_task_pickles_by_name(app):
    app.set_current()
    task = app.task(lambda: 1, name="by.name", lazy=False)
    assert pickle.loads(pickle.dumps(task)) is task


def test_identities_stay_the_same_and_differ_by_thread(app):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: app.thread_oid).result(timeout=10)
    assert app.oid == app.oid
    assert app.thread_oid == app.thread_oid != other


def test_the_time_is_in_the_zone_of_the_application(app):
    assert app.now().utcoffset().total_seconds() == 0
    app.conf.timezone = "Asia/Tokyo"
    assert app.now().utcoffset().total_seconds() == 9 * 3600


def test_the_default_application_is_made_on_demand():
    _current.set_default_app(None)
    _current.set_current_app(None)
    assert celeriac.current_app.main == "default"


def test_the_public_names_exist():
    assert all(hasattr(celeriac, name) for name in celeriac.__all__)
