"""Celery's import path for what adapts an application to a framework."""
