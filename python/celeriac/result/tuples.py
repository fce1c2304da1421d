"""Results as they are written into documents.

Source:
    protocol: result tuples.
"""

from __future__ import annotations

from typing import Any

from celeriac._current import app_or_default
from celeriac.result.groups import GroupResult
from celeriac.result.single import AsyncResult, ResultBase


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """Make a handle of a result tuple.

    Args:
        r: ``[[id, parent], None]`` of one task, ``[[id, parent], [tuple, ...]]`` of a group, or an
            id; a handle is returned as it is.
        app: The application; the current one by default.

    Returns:
        An `AsyncResult` or a `GroupResult`.
    """
    if isinstance(r, ResultBase):
        return r
    app = app_or_default(app)
    head, nodes = r
    task_id, parent = head if isinstance(head, (list, tuple)) else (head, None)
    if parent is not None:
        parent = result_from_tuple(parent, app)
    if nodes is not None:
        members = [result_from_tuple(node, app) for node in nodes]
        return GroupResult(task_id, members, parent=parent, app=app)
    return AsyncResult(task_id, parent=parent, app=app)


AsyncResult.from_tuple = staticmethod(result_from_tuple)
