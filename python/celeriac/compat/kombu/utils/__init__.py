"""`kombu.utils`: small things that found their way into users' code."""

from celeriac.app.loading import symbol_by_name
from celeriac.nodenames import new_id as uuid
from celeriac.utils import cached_property

__all__ = ["cached_property", "symbol_by_name", "uuid"]
