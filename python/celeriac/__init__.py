"""celeriac: a distributed task queue that speaks Celery's wire protocol."""
