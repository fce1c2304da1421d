"""The command line (`celeriac.cli.main.main`). Empty: the child of a pool imports no commands."""
