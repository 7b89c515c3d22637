"""The locks say what setup.cfg says, and the same as one another; checked without a network."""

from __future__ import annotations

import configparser
import re

import pytest

from tests.running import ROOT

LOCKS = [
    "requirements.txt",
    "requirements/embedded.txt",
    "requirements/tracing.txt",
    "requirements/parquet.txt",
    "requirements/dev.txt",
]


def pins(name: str) -> set[tuple[str, str]]:
    """The packages of a lock, each as its name and `version ; marker`."""
    text = (ROOT / name).read_text()
    found = re.findall(r"^([a-z0-9._-]+)==(.*?) \\$", text, re.MULTILINE)
    return {(package, version) for package, version in found}


def wanted(*extras: str) -> set[str]:
    """The packages that setup.cfg names."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    texts = [parser["options"]["install_requires"]]
    texts += [parser["options.extras_require"][extra] for extra in extras]
    lines = [line for line in "\n".join(texts).lower().splitlines() if line[:1].isalnum()]
    return {re.split(r"[\[=<>~;]", line)[0].replace("_", "-") for line in lines}


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.txt", []),
        ("requirements/embedded.txt", ["embedded"]),
        ("requirements/tracing.txt", ["tracing"]),
        ("requirements/parquet.txt", ["parquet"]),
        ("requirements/dev.txt", ["embedded", "test", "lint", "tracing", "parquet"]),
    ],
)
def test_lock_has_every_dependency(lock: str, extras: list[str]) -> None:
    assert wanted(*extras) - {package for package, _ in pins(lock)} == set()


def test_locks_agree() -> None:
    everything = pins("requirements/dev.txt")
    for lock in LOCKS:
        assert pins(lock) <= everything


@pytest.mark.parametrize("lock", [*LOCKS, "requirements/build.txt"])
def test_every_pin_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.findall(r"^[a-z0-9].*\n(?:    .*\n?)*", text, re.MULTILINE)
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
    assert "//" not in text
