"""`kombu.serialization`: registering serializers."""

from celeriac.serialization import accepted as prepare_accept_content
from celeriac.serialization import dumps, loads, register, unregister

__all__ = ["dumps", "loads", "prepare_accept_content", "register", "unregister"]
