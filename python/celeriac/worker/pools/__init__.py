"""Where tasks are executed: in this process, or in children of it."""
