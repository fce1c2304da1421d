"""Celery's import path for the bases of result backends: re-exports, and nothing else."""

from celeriac._current import get_current_task
from celeriac.backends.core import Backend, BaseBackend
from celeriac.backends.disabled import DisabledBackend
from celeriac.backends.exception_form import UnpickleableExceptionWrapper
from celeriac.backends.keyvalue import BaseKeyValueStoreBackend, KeyValueStoreBackend
from celeriac.backends.polling import SyncBackendMixin

BaseDictBackend = BaseBackend

__all__ = [
    "Backend",
    "BaseBackend",
    "BaseDictBackend",
    "BaseKeyValueStoreBackend",
    "DisabledBackend",
    "KeyValueStoreBackend",
    "SyncBackendMixin",
    "UnpickleableExceptionWrapper",
    "get_current_task",
]
