import copy
import json
import pickle

import celery
import pytest

from celeriac import Signature, maybe_signature, signature


def adds(x, y=0):
    return x + y


@pytest.fixture
def add(app):
    return app.task(adds, name="add", lazy=False)


@pytest.fixture
def theirs():
    app = celery.Celery("p", broker="memory://", set_as_current=False)
    return app.task(adds, name="add", lazy=False)


MAKERS = {
    "s": lambda task: task.s(1, y=2),
    "si": lambda task: task.si(1),
    "signature": lambda task: task.signature((1,), {"y": 3}, countdown=1),
    "set": lambda task: task.s(1).set(priority=3, immutable=True),
    "link": lambda task: task.s(1).set(link=[task.s(2)]),
    "clone": lambda task: task.s(2).clone((1,), {"y": 1}, countdown=3),
    "immutable clone": lambda task: task.si(2).clone((1,), {"y": 1}, countdown=3),
    "replace": lambda task: task.s(2).replace(args=(9,), options={"queue": "q"}),
    "partial": lambda task: task.s(2).partial((1,)),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_signature_is_written_as_celerys(add, theirs, maker):
    ours, expected = MAKERS[maker](add), MAKERS[maker](theirs)
    assert json.dumps(ours) == json.dumps(expected)
    assert repr(ours) == repr(expected)


def test_a_signature_calls_with_arguments_in_front(add):
    assert add.s(2)(1) == 3
    assert add.s(y=5).apply((1,)).get() == 6
    assert add.si(7).apply((1,)).get() == 7


def test_a_signature_is_sent(app, add, sent):
    add.s(2).set(priority=4).apply_async((1,), queue="q2")
    (one,) = sent(app, 1, "q2")
    assert one.body.startswith(b"[[1, 2], {}, ")
    assert one.properties["priority"] == 4


def test_a_signature_of_an_unknown_task_is_sent_by_name(app, sent):
    app.signature("elsewhere.task", args=(1,)).delay()
    assert sent(app, 1)[0].headers["task"] == "elsewhere.task"


def test_links_are_not_repeated(add):
    sig = add.s(1)
    callback = add.s(2)
    assert sig.link(callback) is callback
    sig.link(callback)
    assert sig.options["link"] == [callback]
    assert sig.flatten_links() == [sig, callback]
    assert sig.on_error(add.s(3)).options["link_error"] == [add.s(3)]


def test_the_group_of_a_signature_stays(add):
    sig = add.s(1).set(group_id="G")
    assert sig._merge((), {}, {"group_id": "other", "queue": "q"})[2] == {
        "group_id": "G",
        "queue": "q",
    }


def test_freezing_fixes_the_id(add):
    sig = add.s(1)
    result = sig.freeze(root_id="R")
    assert (sig.id, result.id, sig.options["root_id"]) == (result.id, sig.id, "R")
    assert sig.freeze().id == result.id


def test_a_dictionary_becomes_a_signature(app, add):
    made = maybe_signature(json.loads(json.dumps(add.s(1))), app=app)
    assert isinstance(made, Signature)
    assert made.type is add
    assert maybe_signature(None) is None
    assert maybe_signature(made) is made
    assert maybe_signature(made, clone=True) is not made
    assert json.dumps(signature(made)) == json.dumps(made)


def test_a_signature_pickles_as_a_dictionary(add):
    copied = pickle.loads(pickle.dumps(add.s(1)))
    assert type(copied) is dict
    assert copied == dict(add.s(1))


def test_a_copy_shares_no_options(add):
    sig = add.s(1).set(headers={"a": 1})
    copied = copy.deepcopy(sig)
    copied.options["headers"]["a"] = 2
    assert sig.options["headers"] == {"a": 1}
