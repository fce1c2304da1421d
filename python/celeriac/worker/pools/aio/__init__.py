"""Tasks as coroutines on one loop, and functions in threads beside them."""
