"""Write samples of the versions that have none yet."""

from __future__ import annotations

import sys

from tests.messages.samples import FOLDER, SAMPLES

FOLDER.mkdir(exist_ok=True)
for sample in SAMPLES:
    if sample.path.exists():
        sys.stdout.write(f"{sample.path.name} is kept as it is\n")
    else:
        sample.path.write_bytes(sample.write())
        sys.stdout.write(f"{sample.path.name} written\n")
