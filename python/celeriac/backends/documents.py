"""Result documents: from a value to what is stored, and back.

Source:
    protocol: result document; celery/backends/base.py (names of methods).
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._current import get_current_task
from celeriac.backends import exception_form
from celeriac.compression import method, pack_result, unpack_result
from celeriac.exceptions import DecodeError, EncodeError
from celeriac.serialization import accepted, dumps, is_native, loads, serializer
from celeriac.timestamps import UTC, seconds

if TYPE_CHECKING:
    from celeriac._protocols import App


class Documents:
    """Makes and reads the documents of an application's results.

    Args:
        app: The application.
        serializer: `result_serializer` by default.
        accept: What may be read; `result_accept_content`, then `accept_content` by default.
        expires: Lifetime of results; `result_expires` by default.
        expires_type: Called with the lifetime in seconds, to make ``self.expires``.

    """

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    #: Whether what is stored may be other bytes than the serializer's (`result_compression`).
    supports_result_compression = False

    def __init__(
        self,
        app: App,
        serializer: str | None = None,
        accept: Any = None,
        expires: Any = None,
        expires_type: Any = None,
    ) -> None:
        conf = app.conf
        self.app = app
        self.serializer: str = serializer or conf.result_serializer
        chosen = _serializer(self.serializer)
        self.content_type = chosen.content_type
        self.content_encoding = chosen.content_encoding
        self.encoder = chosen.encode
        packing = conf.result_compression if self.supports_result_compression else None
        self.compression: str | None = method(packing).content_type if packing else None
        self.expires: Any = self.prepare_expires(expires, expires_type)
        self.accept = accepted(accept or conf.result_accept_content or conf.accept_content)

    # Values ------------------------------------------------------------------------------------

    def prepare_expires(self, value: Any, type: Any = None) -> Any:  # noqa: A002 - Celery's name
        """Turn a lifetime into what ``self.expires`` holds.

        Args:
            value: Seconds or a timedelta; None for `result_expires`.
            type: Called with the seconds.

        Returns:
            Seconds, or what `type` makes of them; None for ever.
        """
        found = seconds(self.app.conf.result_expires if value is None else value)
        return type(found) if found is not None and type else found

    def prepare_persistent(self, enabled: bool | None = None) -> bool:  # noqa: FBT001 - Celery's signature
        """Say whether results survive a restart of their server.

        Returns:
            `enabled`, or `result_persistent`, or the class's own default.
        """
        if enabled is not None:
            return enabled
        setting: bool | None = self.app.conf.result_persistent
        return bool(getattr(self, "persistent", True)) if setting is None else setting

    def prepare_value(self, result: Any) -> Any:
        """Make a returned handle something that can be stored.

        Returns:
            Its tuple; any other value as it is.
        """
        is_handle = hasattr(result, "as_tuple") and hasattr(result, "parent")
        return result.as_tuple() if is_handle and self.serializer != "pickle" else result

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """Describe an exception (see `exception_form.as_document`).

        Returns:
            The description.
        """
        return exception_form.as_document(exc, serializer or self.serializer)

    def exception_to_python(self, exc: Any) -> BaseException | None:
        """Rebuild an exception (see `exception_form.from_document`).

        Returns:
            The exception.
        """
        return exception_form.from_document(exc)

    def encode_result(self, result: Any, state: str) -> Any:
        """Make of a result what its document holds.

        Args:
            result: The return value, the exception, or the meta data of another state.
            state: The state.

        Returns:
            The description of an exception; other values as `prepare_value` has them.
        """
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return self.prepare_value(result)

    # Bytes -------------------------------------------------------------------------------------

    def _encode(self, data: Any) -> tuple[str, str, bytes]:
        return dumps(data, self.serializer)

    def encode(self, data: Any) -> bytes:
        """Encode anything with the serializer of results.

        Returns:
            The bytes.
        """
        return self._encode(data)[2]

    def decode(self, payload: Any) -> Any:
        """Decode what `encode` made, here or in a Celery process.

        Args:
            payload: Bytes or text; None is returned as it is.

        Returns:
            The value.
        """
        if payload is None:
            return None
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        return loads(data, self.content_type, self.content_encoding, self.accept)

    def decode_result(self, payload: Any) -> dict[str, Any]:
        """Read a document.

        Args:
            payload: The whole document.

        Returns:
            The fields; ``result`` is an exception in the states that have one.

        Raises:
            DecodeError: It is no document.
        """
        max_bytes: int = self.app.conf.decompressed_max_bytes
        is_bytes = isinstance(payload, bytes)
        meta = self.decode(unpack_result(payload, max_bytes) if is_bytes else payload)
        if not isinstance(meta, dict) or "status" not in meta:
            message = f"A result of {type(meta).__name__} is no result document."
            raise DecodeError(message)
        return self.meta_from_decoded(meta)

    def meta_from_decoded(self, meta: dict[str, Any]) -> dict[str, Any]:
        """Turn a decoded document's exception into one.

        Returns:
            The fields.
        """
        if meta["status"] in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta.get("result"))
        return meta

    def document(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
    ) -> bytes:
        """Make the whole document of a result.

        Args:
            task_id: The task's id.
            result: The return value, the exception, or the meta data of another state.
            state: The state.
            traceback: Text, or None.
            request: The call (a `Context`), for children, group and the extended fields.

        Returns:
            The document.

        Raises:
            EncodeError: The result cannot be encoded; the message says where.
        """
        result = self.encode_result(result, state)
        meta = self._get_result_meta(result, state, traceback, request)
        try:
            return pack_result(self.encode({**meta, "task_id": task_id}), self.compression)
        except EncodeError:
            # Say it again in the task's terms: `result["when"]`.
            dumps(result, self.serializer, "result")
            raise

    @cached_property
    def writes_plain_successes(self) -> bool:
        """Whether a success's document is what the Rust module writes of a value and a date."""
        conf = self.app.conf
        return (
            all(getattr(type(self), name) is getattr(Documents, name) for name in _MAKERS)
            and self.serializer == "json"
            and is_native(self.content_type)
            and self.compression is None
            and not conf.result_extended
            and self.app.timezone is UTC
        )

    # Fields ------------------------------------------------------------------------------------

    def _get_result_meta(
        self,
        result: Any,
        state: str,
        traceback: Any,
        request: Any,
        format_date: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        encode: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[str, Any]:
        """List the fields of a document, without the task's id.

        Args:
            result: What `encode_result` made.
            state: The state.
            traceback: Text, or None.
            request: The call, or None.
            format_date: Whether ``date_done`` is text.
            encode: Whether ``args`` and ``kwargs`` are encoded.

        Returns:
            The fields, in the order in which they are stored.
        """
        done: Any = self.app.now() if state in self.READY_STATES else None
        meta: dict[str, Any] = {
            "status": state,
            "result": result,
            "traceback": None if traceback is None else str(traceback),
            "children": self.current_task_children(request),
            "date_done": done.isoformat() if done is not None and format_date else done,
        }
        if request is None:
            return meta
        if getattr(request, "group", None):
            meta["group_id"] = request.group
        if getattr(request, "parent_id", None):
            meta["parent_id"] = request.parent_id
        if self.app.conf.result_extended:
            extended = _extended(request)
            if encode:
                extended.update({name: self.encode(extended[name]) for name in ("args", "kwargs")})
            meta.update(extended)
        return meta

    def current_task_children(self, request: Any = None) -> list[Any] | None:
        """List the tasks that a call has started.

        Args:
            request: The call; the one that this thread runs by default.

        Returns:
            Result tuples; None outside of calls.
        """
        request = request or getattr(get_current_task(), "request", None)
        if not request:
            return None
        return [child.as_tuple() for child in getattr(request, "children", None) or ()]

    def expires_s(self, state: str) -> int | None:
        """Say how long a result is kept.

        Args:
            state: Its state.

        Returns:
            Whole seconds; None for ever.
        """
        expires = seconds(self.expires)
        if state == states.FAILURE:
            own = seconds(self.app.conf.result_failure_expires)
            expires = own if own is not None else expires
        return int(expires) if expires else None


_serializer = serializer
#: What has a part in making a document.
_MAKERS = (
    "document",
    "_get_result_meta",
    "current_task_children",
    "encode",
    "_encode",
    "encode_result",
    "prepare_value",
)


def _extended(request: Any) -> dict[str, Any]:
    info = getattr(request, "delivery_info", None) or {}
    fields = {
        "name": getattr(request, "task", None),
        "args": getattr(request, "args", None),
        "kwargs": getattr(request, "kwargs", None),
        "worker": getattr(request, "hostname", None),
        "retries": getattr(request, "retries", None),
        "queue": info.get("routing_key"),
    }
    stamps = getattr(request, "stamps", None)
    names = getattr(request, "stamped_headers", None)
    if stamps and names:
        fields["stamped_headers"] = names
        fields.update(stamps)
    return fields


def parse_date(value: Any) -> Any:
    """Read `date_done`.

    Returns:
        A time; what is none is returned as it is.
    """
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


class Remembered(OrderedDict[str, Any]):
    """The last results that were read (`result_cache_max`).

    Args:
        limit: How many; below 0 none.

    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: str, value: Any) -> None:
        if self.limit < 0:
            return
        super().__setitem__(key, value)
        # 0 is Celery's word for "no limit".
        while self.limit and len(self) > self.limit:
            self.popitem(last=False)
