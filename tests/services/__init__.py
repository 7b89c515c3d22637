"""Private servers for the tests: `python -m tests.services run -- [pytest argument...]`."""
