"""Celery's import path for proxies: re-exports, and nothing else."""

from celeriac.app.proxy import PromiseProxy, Proxy, maybe_evaluate, try_import

__all__ = ["PromiseProxy", "Proxy", "maybe_evaluate", "try_import"]
