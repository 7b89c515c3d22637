"""`python -m tests.services run -- [pytest argument...]`."""

from __future__ import annotations

import sys

from tests.services.provision import run_tests

if __name__ == "__main__":
    if sys.argv[1:3] != ["run", "--"]:
        sys.exit(__doc__)
    sys.exit(run_tests(sys.argv[3:]))
