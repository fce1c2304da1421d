"""What some users need beside the core; each module is imported by name."""
