"""Celery's import path for node names: re-exports, and nothing else."""

from celeriac.nodenames import (
    anon_nodename,
    default_nodename,
    gethostname,
    host_format,
    node_format,
    nodename,
    nodesplit,
)
from celeriac.routing import worker_direct

__all__ = [
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]
