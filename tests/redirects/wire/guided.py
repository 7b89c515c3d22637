"""The comparison with gunicorn's parsers on bytes that coverage leads to: libFuzzer, by atheris.

A process of its own, as libFuzzer ends the one that it runs in:

    python -m tests.redirects.wire.guided FOLDER SECONDS SEED

Ends with status 0 after so long, and with another one at the first disagreement.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris
import psutil  # noqa: F401 - it compiles expressions of bytes that atheris cannot take apart

# Before expressions are compiled: how far one matched is coverage, too.
atheris.enabled_hooks.add("RegEx")
with atheris.instrument_imports(
    include=["api.redirects.fast", "api.core.client", "api.core.requests", "gunicorn.http"]
):
    from tests.redirects.wire.agreement import Referee
    from tests.redirects.wire.corpus_fields import BROWSER, CASES
    from tests.redirects.wire.mutations import BITS, ODD_LINES
    from tests.redirects.wire.talk import PROXY, STRANGER

_MOST_BYTES = 2_000


def main(folder: Path, seconds: int, seed: int) -> None:
    """Judge what libFuzzer thinks of, beginning with the corpus."""
    seeds = folder / "corpus"
    seeds.mkdir()
    for number, case in enumerate(sorted(set(CASES.values()))):
        if len(case) <= _MOST_BYTES:
            (seeds / str(number)).write_bytes(case)
    words = folder / "words"
    words.write_text("".join(map(_word, [*BITS, *ODD_LINES, *map(str.encode, BROWSER)])))
    referee = Referee(folder / "spool")

    def judge(data: bytes) -> None:
        for peer in (PROXY, STRANGER):
            referee.judge(data, peer)

    options = {
        "max_total_time": seconds,
        "max_len": _MOST_BYTES,
        "seed": seed,
        "dict": words,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(seeds)], judge)
    atheris.Fuzz()


def _word(data: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"\n'


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
