"""`broker_use_ssl` and `redis_backend_use_ssl` as options of a broker or store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from celeriac.exceptions import ImproperlyConfigured

#: Names of Python's `ssl` and py-amqp on the left, those of redis-py and of URLs on the right.
_NAMES = {
    "ca_certs": "ssl_ca_certs",
    "cafile": "ssl_ca_certs",
    "cert_reqs": "ssl_cert_reqs",
    "certfile": "ssl_certfile",
    "check_hostname": "ssl_check_hostname",
    "keyfile": "ssl_keyfile",
    "server_hostname": "ssl_server_hostname",
    "ssl_minimum_version": "ssl_min_version",
    "tls_minimum_version": "ssl_min_version",
}
_OPTIONS = (*dict.fromkeys(_NAMES.values()),)
_PATHS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: `ssl.PROTOCOL_TLS…` say how old the other side may be; nothing older than 1.2 is spoken.
_WITHOUT_EFFECT = ("ssl_version", "server_side", "do_handshake_on_connect", "suppress_ragged_eofs")


def tls_options(name: str, value: Any) -> dict[str, Any]:
    """Translate a setting into transport options.

    Args:
        name: The setting's name, for errors.
        value: False or None for no wish, True for TLS with the system's authorities, or a mapping
            with the names of py-amqp (``ca_certs``, ``certfile``, ``keyfile``, ``cert_reqs``,
            ``server_hostname``) or of redis-py (the same behind ``ssl_``). Values of ``cert_reqs``
            are ``ssl.CERT_…`` or their names; files are paths.

    Returns:
        Options, none of them where nothing is wished.

    Raises:
        ImproperlyConfigured: A name that is not there, with those that are.

    Source:
        py-amqp ``SSLTransport``, redis-py ``SSLConnection``.
    """
    if value is None or value is False or (isinstance(value, Mapping) and not value):
        return {}
    if value is True:
        return {"ssl": True}
    if not isinstance(value, Mapping):
        message = f"Setting {name!r} is True, False or a mapping, not {type(value).__name__}."
        raise ImproperlyConfigured(message)
    options: dict[str, Any] = {"ssl": True}
    for key, given in value.items():
        option = _NAMES.get(key, key)
        if given is None or option in _WITHOUT_EFFECT:
            continue
        if option not in _OPTIONS:
            known = ", ".join(sorted({*_NAMES, *_OPTIONS}))
            message = f"Setting {name!r} has no option {key!r}; known: {known}."
            raise ImproperlyConfigured(message)
        options[option] = os.fspath(given) if option in _PATHS else _plain(given)
    return options


def _plain(value: Any) -> Any:
    # `ssl.CERT_NONE` and `ssl.TLSVersion.TLSv1_3` are numbers with names.
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
