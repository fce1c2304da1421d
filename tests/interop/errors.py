"""Exceptions and a connection that both flavours of the tasks import from one place."""

import os

import redis


class CustomError(Exception):
    """An exception of the user's own with two arguments."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


class UnpicklableError(Exception):
    """An exception that holds what cannot be pickled nor encoded."""

    def __init__(self, text, *, lock=None):
        super().__init__(text, lambda: None)


def connection():
    return redis.Redis.from_url(os.environ["INTEROP_NOTES"])
