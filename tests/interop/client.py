"""A producer in a process of its own: evaluates one expression a line, answers one JSON line.

The expressions come from the tests in this folder and see `tasks`, `app` and the modules below.
"""

import datetime as dt  # noqa: F401
import decimal  # noqa: F401
import json
import sys
import uuid  # noqa: F401

import errors  # noqa: F401
import tasks
from tasks import app, exceptions, flavour  # noqa: F401


def described(error):
    return {
        "class": type(error).__qualname__,
        "module": type(error).__module__,
        "bases": [base.__module__ + "." + base.__qualname__ for base in type(error).__mro__],
        "args": repr(error.args),
        "text": str(error),
    }


def main():
    print(json.dumps({"ready": flavour.__name__}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"value": repr(eval(json.loads(line), globals()))}
        except Exception as error:  # noqa: BLE001
            answer = {"error": described(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.modules["client"] = sys.modules["__main__"]
    assert tasks.app is app
    main()
