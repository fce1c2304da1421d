"""`billiard`: a fork of `multiprocessing` that Celery needs, and this project does not.

Children of a worker are ordinary processes, so the standard library's module does what it does.
"""

from multiprocessing import Pool, Process, cpu_count, current_process

__all__ = ["Pool", "Process", "cpu_count", "current_process"]
