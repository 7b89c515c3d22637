"""Run something beside private servers.

python -m tests.services run -- [pytest argument...]
python -m tests.services exec -- command [argument...]
"""

from __future__ import annotations

import sys

from tests.services.provision import run_command, run_tests

_VERBS = {"run": run_tests, "exec": run_command}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in _VERBS or sys.argv[2] != "--":
        sys.exit(__doc__)
    sys.exit(_VERBS[sys.argv[1]](sys.argv[3:]))
