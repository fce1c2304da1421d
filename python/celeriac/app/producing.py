"""`Producer`: messages of the user's own, that are no tasks.

Source:
    kombu/messaging.py ``Producer`` (names, arguments); kombu/serialization.py ``dumps``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import broker
from celeriac.routing import Exchange, Queue
from celeriac.routing.entities import delivery_mode as mode_of
from celeriac.serialization import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

__all__ = ("Producer",)

CONFIRM_WAIT_S = 30.0


class Producer:
    """Publishes messages, each confirmed by the broker before `publish` returns.

    Args:
        channel: A connection, or a channel of one.
        exchange: Where messages go that name no exchange.
        routing_key: The key of messages that have none.
        serializer: The serializer of messages that name none; ``json`` by default.
        **_options: kombu's other options; they have no meaning here.

    """

    def __init__(
        self,
        channel: Any,
        exchange: Any = None,
        routing_key: str | None = None,
        serializer: str | None = None,
        **_options: Any,
    ) -> None:
        self.channel = channel
        self.exchange = Exchange.of(exchange)
        self.routing_key = routing_key or ""
        self.serializer = serializer

    @property
    def connection(self) -> Any:
        """Its connection."""
        return getattr(self.channel, "connection", self.channel)

    def publish(  # noqa: PLR0913, PLR0917 - kombu's signature
        self,
        body: Any,
        routing_key: str | None = None,
        delivery_mode: Any = None,
        mandatory: bool = False,  # noqa: FBT001, FBT002
        immediate: bool = False,  # noqa: ARG002, FBT001, FBT002
        priority: int = 0,
        content_type: str | None = None,
        content_encoding: str | None = None,
        serializer: str | None = None,
        headers: Mapping[str, Any] | None = None,
        compression: str | None = None,
        exchange: Any = None,
        retry: bool = False,  # noqa: FBT001, FBT002
        retry_policy: Mapping[str, Any] | None = None,
        declare: Iterable[Any] = (),
        expiration: float | None = None,
        timeout: float | None = None,
        **properties: Any,
    ) -> None:
        """Publish a message and wait until the broker has it.

        Args:
            body: What the serializer can carry; text and bytes go as they are.
            routing_key: The key.
            delivery_mode: 1 or 2; by default the exchange's, or 2.
            mandatory: Whether it is an error when no queue takes the message (RabbitMQ).
            immediate: Ignored.
            priority: 0 to 255.
            content_type: Of a body that is encoded already.
            content_encoding: Likewise.
            serializer: Name of the serializer.
            headers: Headers.
            compression: Must be None.
            exchange: The exchange, or its name.
            retry: Whether to try again, as `retry_policy` says.
            retry_policy: As in `task_publish_retry_policy`.
            declare: Queues to declare first.
            expiration: Seconds after which the broker drops it.
            timeout: Seconds to wait for the broker.
            **properties: More properties (``reply_to``, ``correlation_id``, ...).

        Raises:
            NotImplementedError: The message is to be compressed.
            OperationalError: The broker cannot be reached, or refuses.
        """  # noqa: DOC502 - by the Rust module
        if compression:
            message = "Producer.publish(compression=...) is not in celeriac. Compress the body."
            raise NotImplementedError(message)
        target = self.exchange if exchange is None else Exchange.of(exchange)
        kind, encoding, data = self._encoded(body, serializer, content_type, content_encoding)
        made = {name: value for name, value in properties.items() if value is not None}
        made.update(
            content_type=kind,
            content_encoding=encoding,
            delivery_mode=mode_of(delivery_mode) or target.delivery_mode or 2,
            priority=priority,
            mandatory=mandatory or None,
        )
        if expiration is not None:
            made["expiration"] = str(int(expiration * 1000))
        key = self.routing_key if routing_key is None else routing_key
        specs = [Queue.of(queue).as_spec() for queue in declare if hasattr(queue, "routing_key")]
        publisher = self.connection.publisher

        def send() -> None:
            publisher.publish_parts(
                dict(headers or {}), made, data, target.name, key, specs, None,
                timeout or CONFIRM_WAIT_S,
            )  # fmt: skip

        broker.publish_with_retries(send, retry_policy, retry=retry)

    def _encoded(
        self, body: Any, serializer: str | None, kind: str | None, encoding: str | None
    ) -> tuple[str, str, bytes]:
        if kind is not None and isinstance(body, (bytes, str)):
            charset = encoding or "utf-8"
            data = body if isinstance(body, bytes) else body.encode(charset)
            return kind, charset, data
        name = serializer or self.serializer
        if name is None and isinstance(body, bytes):
            return "application/data", "binary", body
        if name is None and isinstance(body, str):
            return "text/plain", "utf-8", body.encode()
        return dumps(body, name or "json", "body")

    def release(self) -> None:
        """Give it back; the process keeps its connection."""

    close = release

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()
