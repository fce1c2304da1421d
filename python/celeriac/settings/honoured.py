"""Which settings were set, and have no effect yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.settings.table import TABLE

if TYPE_CHECKING:
    from celeriac.settings.conf import Settings


class Unhonoured(NamedTuple):
    """A setting, task option or flag that was given and does nothing yet."""

    name: str
    value: Any
    #: Whether a worker must not start without it, unless told to.
    stops_worker: bool


def unhonoured(conf: Settings) -> list[Unhonoured]:
    """List what the user has set to something else than the default, without effect.

    Args:
        conf: The settings of an application.

    Returns:
        One entry a setting, in the order of the table.
    """
    return [
        Unhonoured(setting.name, conf[setting.name], setting.guards)
        for setting in TABLE
        if not setting.honoured
        and conf.is_set(setting.name)
        and conf[setting.name] != setting.default
    ]
