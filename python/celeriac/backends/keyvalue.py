"""Results in any store of keys and values: the user writes `get`, `set` and `delete`.

Source:
    celery/backends/base.py ``BaseKeyValueStoreBackend`` (names of keys and methods).
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.backends.core import NOT_IMPLEMENTED, Backend
from celeriac.backends.polling import SyncBackendMixin
from celeriac.exceptions import BackendStoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def _bytes(text: Any) -> Any:
    return text.encode() if isinstance(text, str) else text


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


class BaseKeyValueStoreBackend(Backend):
    """Keeps each document under a key of its own."""

    #: Turns the parts of a key into what the store takes: text, or bytes.
    key_t: Any = _bytes
    task_keyprefix: Any = "celery-task-meta-"
    group_keyprefix: Any = "celery-taskset-meta-"
    chord_keyprefix: Any = "chord-unlock-"
    implements_incr = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A plain function becomes a method as an attribute of a class.
        if isinstance(self.key_t, types.MethodType):
            self.key_t = self.key_t.__func__
        super().__init__(*args, **kwargs)
        options = self.app.conf.result_backend_transport_options or {}
        first: str = options.get("global_keyprefix") or ""
        if first and first[-1] not in ":_-.":
            first += "_"
        for name in ("task_keyprefix", "group_keyprefix", "chord_keyprefix"):
            setattr(self, name, self.key_t(first + _text(getattr(self, name))))

    # What a store implements -------------------------------------------------------------------

    def get(self, key: Any) -> Any:
        """Read a value; None where there is none."""
        raise NotImplementedError(NOT_IMPLEMENTED)

    def mget(self, keys: Iterable[Any]) -> Any:
        """Read many values: a list in the order of the keys, or a mapping.

        Returns:
            The values, one after the other where the store has no better way.
        """
        return [self.get(key) for key in keys]

    def set(self, key: Any, value: Any) -> Any:
        """Write a value."""
        raise NotImplementedError(NOT_IMPLEMENTED)

    def delete(self, key: Any) -> Any:
        """Delete a value."""
        raise NotImplementedError(NOT_IMPLEMENTED)

    def incr(self, key: Any) -> Any:
        """Count a value up."""
        raise NotImplementedError(NOT_IMPLEMENTED)

    def expire(self, key: Any, value: Any) -> Any:
        """Give a value a lifetime, where the store can."""

    def _set_with_state(self, key: Any, value: Any, state: str) -> Any:  # noqa: ARG002 - for subclasses
        return self.set(key, value)

    # Keys --------------------------------------------------------------------------------------

    def get_key_for_task(self, task_id: Any, key: str = "") -> Any:
        """Name the key of a task's document.

        Returns:
            The key.
        """
        return self._key(self.task_keyprefix, "task_id", task_id, key)

    def get_key_for_group(self, group_id: Any, key: str = "") -> Any:
        """Name the key of a group.

        Returns:
            The key.
        """
        return self._key(self.group_keyprefix, "group_id", group_id, key)

    def get_key_for_chord(self, group_id: Any, key: str = "") -> Any:
        """Name the key of a chord's counter.

        Returns:
            The key.
        """
        return self._key(self.chord_keyprefix, "group_id", group_id, key)

    def _key(self, prefix: Any, what: str, name: Any, key: str) -> Any:
        if not name:
            message = f"{what} must not be empty. Got {name} instead."
            raise ValueError(message)
        name = name if isinstance(name, bytes) else str(name)
        return self.key_t("").join([prefix, self.key_t(name), self.key_t(key)])

    # Documents ---------------------------------------------------------------------------------

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_kwargs: Any,
    ) -> Any:
        meta = self._get_result_meta(result, state, traceback, request)
        document = self.encode({**meta, "task_id": _text(task_id)})
        # What a lost worker's second run brings does not replace a success.
        if self._get_task_meta_for(task_id)["status"] == states.SUCCESS:
            return result
        try:
            self._set_with_state(self.get_key_for_task(task_id), document, state)
        except BackendStoreError as exc:
            raise BackendStoreError(str(exc), state=state, task_id=task_id) from exc
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        document = self.get(self.get_key_for_task(task_id))
        if not document:
            return {"status": states.PENDING, "result": None}
        return self.decode_result(document)

    def task_result_exists(self, task_id: str) -> bool:
        """Say whether there is a document.

        Returns:
            Whether the key exists.
        """
        return bool(self.get(self.get_key_for_task(task_id)))

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        document = self.encode({"result": result.as_tuple()})
        self._set_with_state(self.get_key_for_group(group_id), document, states.SUCCESS)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        document = self.get(self.get_key_for_group(group_id))
        if not document:
            return None
        meta: dict[str, Any] = self.decode(document)
        return {**meta, "result": self.handle_of(meta["result"])}

    def _delete_group(self, group_id: str) -> None:
        self.delete(self.get_key_for_group(group_id))


class KeyValueStoreBackend(BaseKeyValueStoreBackend, SyncBackendMixin):
    """A store of keys and values that is asked for results again and again."""

    def _ready_of(self, task_ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        keys = [self.get_key_for_task(task_id) for task_id in task_ids]
        found = self.mget(keys)
        values = [found.get(key) for key in keys] if hasattr(found, "items") else found
        for task_id, document in zip(task_ids, values, strict=True):
            meta = self.decode_result(document) if document else None
            if meta is not None and meta["status"] in states.READY_STATES:
                yield task_id, meta
