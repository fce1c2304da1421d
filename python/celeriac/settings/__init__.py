"""One table of settings, and what is driven by it."""

from celeriac.settings.conf import Settings, censor, new_name, read_config
from celeriac.settings.honoured import Unhonoured, unhonoured
from celeriac.settings.table import BY_NAME, DEFAULTS, OLD_TO_NEW, TABLE, Setting

__all__ = [
    "BY_NAME",
    "DEFAULTS",
    "OLD_TO_NEW",
    "TABLE",
    "Setting",
    "Settings",
    "Unhonoured",
    "censor",
    "new_name",
    "read_config",
    "unhonoured",
]
