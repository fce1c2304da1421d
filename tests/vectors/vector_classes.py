"""Classes whose instances are sent and stored to record vectors."""

import enum


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3
    __str__ = int.__repr__  # as since Python 3.11; Celery writes str() of a number into reprs


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __json__(self):
        return {"x": self.x, "y": self.y}

    def __repr__(self):
        return f"Point({self.x}, {self.y})"


class CustomError(Exception):
    def __init__(self, message, code):
        super().__init__(message, code)


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError


class Outer:
    class InnerError(Exception):
        pass
