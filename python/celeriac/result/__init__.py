"""Handles to results."""

from celeriac._current import task_join_will_block
from celeriac.result.eager import EagerResult
from celeriac.result.groups import GroupResult
from celeriac.result.sets import ResultSet
from celeriac.result.single import AsyncResult, ResultBase
from celeriac.result.tuples import result_from_tuple
from celeriac.result.waiting import (
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
)

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
]
