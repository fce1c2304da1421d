"""What is served under the names of Celery's packages (`celeriac.as_celery`).

The files are executed under those names (``celery``, ``kombu.common``): re-exports, and a sentence
for what has no equal here.
"""
