"""`kombu.exceptions`: what brokers and serializers raise."""

from celeriac.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    KombuError,
    OperationalError,
    SerializationError,
    SerializerNotInstalled,
    reraise,
)

# What fails on a connection or a channel is an `OperationalError` here.
ConnectionError = ChannelError = OperationalError  # noqa: A001 - kombu's name
TimeoutError = TimeoutError  # noqa: A001, PLW0127 - kombu's name for the builtin

__all__ = [
    "ChannelError",
    "ConnectionError",
    "ContentDisallowed",
    "DecodeError",
    "EncodeError",
    "KombuError",
    "OperationalError",
    "SerializationError",
    "SerializerNotInstalled",
    "TimeoutError",
    "reraise",
]
