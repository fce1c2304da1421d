"""`kombu.connection`: connections."""

from celeriac.app.connection import Connection, ConnectionPool

__all__ = ["BrokerConnection", "Connection", "ConnectionPool"]

BrokerConnection = Connection
