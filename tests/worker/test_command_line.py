import pytest
from click.testing import CliRunner
from running import SOURCE

from celeriac import Celery
from celeriac.cli.absent import ABSENT
from celeriac.cli.find import NoApp, find_app
from celeriac.cli.main import celeriac


@pytest.fixture
def proj(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path


APP = "from celeriac import Celery\n{name} = Celery('x', set_as_current=False)\n"


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"find_a.py": APP.format(name="app")}, "find_a"),
        ({"find_b.py": APP.format(name="celery")}, "find_b"),
        ({"find_c.py": APP.format(name="other")}, "find_c"),
        ({"find_d.py": APP.format(name="other")}, "find_d:other"),
        ({"find_e.py": APP.format(name="other")}, "find_e.other"),
        ({"find_f/__init__.py": "", "find_f/celery.py": APP.format(name="app")}, "find_f"),
        (
            {
                "find_g/__init__.py": "from .celery import app as celery_app",
                "find_g/celery.py": APP.format(name="app"),
            },
            "find_g",
        ),
    ],
)
def test_an_application_is_found_as_celery_finds_it(proj, files, path):
    for name, text in files.items():
        (proj / name).parent.mkdir(exist_ok=True)
        (proj / name).write_text(text)
    assert find_app(path).main == "x"


def test_a_missing_module_is_named_with_a_hint(proj):
    with pytest.raises(NoApp, match=r"(?s)module no_such_proj was not found.*--workdir"):
        find_app("no_such_proj")


def test_an_error_in_the_users_module_is_shown_with_its_traceback(proj):
    (proj / "broken_a.py").write_text("def setting():\n    return 1 / 0\nsetting()\n")
    with pytest.raises(NoApp) as caught:
        find_app("broken_a")
    assert "ZeroDivisionError: division by zero" in str(caught.value)
    assert 'broken_a.py", line 2, in setting' in str(caught.value)


def test_a_module_that_is_missing_inside_the_users_module_is_shown_with_its_traceback(proj):
    (proj / "broken_b.py").write_text("import no_such_dependency\n")
    with pytest.raises(NoApp, match=r"(?s)Traceback.*No module named 'no_such_dependency'"):
        find_app("broken_b")


def test_a_module_without_an_application_says_how_to_name_one(proj):
    (proj / "empty_a.py").write_text("")
    with pytest.raises(NoApp, match="-A empty_a:name"):
        find_app("empty_a")


def test_a_wrong_attribute_is_named(proj):
    (proj / "empty_b.py").write_text("")
    with pytest.raises(NoApp, match="'empty_b' has no attribute 'apps'"):
        find_app("empty_b:apps")


def test_a_name_that_is_no_application_is_said_to_be_none(proj):
    (proj / "other_a.py").write_text("x = 1\n" + APP.format(name="app"))
    with pytest.raises(NoApp, match="'other_a:x' is no application but of type int"):
        find_app("other_a:x")


def run(*arguments):
    return CliRunner().invoke(celeriac, arguments)


def test_an_application_that_cannot_be_loaded_has_celerys_exit_code(proj):
    result = run("-A", "no_such_proj", "worker")
    assert result.exit_code == 2
    assert "Unable to load celery application." in result.output


def test_the_version_is_shown():
    result = run("--version")
    assert result.exit_code == 0
    assert "(celeriac)" in result.output


@pytest.mark.parametrize("name", ABSENT)
def test_a_command_that_is_not_there_says_so(name):
    result = run(name, "--some", "option")
    assert result.exit_code == 64
    assert f"celeriac {name} is not in this version" in result.output


def test_help_needs_no_application():
    result = run("worker", "--help")
    assert result.exit_code == 0
    assert "--concurrency" in result.output


def test_the_tests_use_the_source_tree():
    assert (SOURCE / "celeriac" / "__init__.py").exists()


def test_an_application_runs_the_command_line_more_than_once(capsys):
    app = Celery("cli", set_as_current=False)
    for _ in range(2):
        app.start(["--version"])
    assert capsys.readouterr().out.count("celeriac") == 2
