"""Children forked from a single-threaded copy of the worker."""
