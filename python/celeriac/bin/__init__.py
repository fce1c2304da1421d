"""Celery's import paths for the command line: re-exports, and nothing else."""
