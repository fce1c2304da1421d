"""Tasks for Django."""
