"""`kombu.utils.uuid`: ids."""

from celeriac.nodenames import new_id as uuid

__all__ = ["uuid"]
