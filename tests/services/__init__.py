"""Private servers for the tests; `python -m tests.services` runs something beside them."""
