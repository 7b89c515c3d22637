"""What scripts/test adds to pytest: long tests wait to be asked for, absent servers are shouted."""

from __future__ import annotations

import functools
import gc
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.services import chromium, prometheus, rabbitmq
from tests.services.rabbitmq import wait_until_up

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

# What is not everywhere, by the reason for which tests are skipped, and how to get it.
_ABSENT = {
    "no RabbitMQ": (
        f"{rabbitmq.INSTALL}    (as root; scripts/test as root does it itself)",
        "or TEST_AMQP_URL=amqp://... scripts/test",
    ),
    chromium.ABSENT: (f"{chromium.INSTALL}    (as root; scripts/test as root does it itself)",),
    prometheus.ABSENT: (f"{prometheus.INSTALL}    (as root; scripts/test as root does it itself)",),
}
_ROOT = Path(__file__).resolve().parents[2]
# Modules that share what takes long to fill or to start: one process does it for all of them.
_SHARED = {
    "tests/contracts/test_query_plans.py": "filled tables",
    "tests/contracts/test_chore_plans.py": "filled tables",
    "tests/cluster/test_story.py": "cluster",
    "tests/gateway/test_bounds.py": "gateway",
    "tests/gateway/test_rolling.py": "gateway",
    "tests/gateway/test_routes.py": "gateway",
    "tests/gateway/test_stopping.py": "gateway",
    "tests/gateway/test_streams.py": "gateway",
    "tests/gateway/test_tls.py": "gateway",
    "tests/kubernetes/test_manifests.py": "manifests",
    "tests/live/test_streams.py": "live",
    "tests/redirects/wire/test_behind_nginx.py": "pair of servers",
    "tests/redirects/wire/test_changes.py": "pair of servers",
    "tests/redirects/wire/test_comparison.py": "pair of servers",
    "tests/redirects/wire/test_corpus.py": "pair of servers",
    "tests/redirects/wire/test_fuzz.py": "pair of servers",
    "tests/replicas/test_failures.py": "replicas",
    "tests/replicas/test_reading.py": "replicas",
    "tests/tracing/test_requests.py": "traced server",
    "tests/tracing/test_clicks.py": "traced server",
    "tests/transport/test_tls_servers.py": "servers with TLS",
    "tests/transport/test_tls_whole.py": "servers with TLS",
}
# A module with a fixture of its own that is made once shares it among its tests.
_MADE_ONCE = re.compile(r"^@pytest\.fixture\(.*scope=\"module\"", re.MULTILINE)


@functools.cache
def _shared_by(module: str) -> str | None:
    """What the tests of a module share; None if each of them may run anywhere."""
    if module in _SHARED:
        return _SHARED[module]
    return module if _MADE_ONCE.search((_ROOT / module).read_text(encoding="utf-8")) else None


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return _shared_by(nodeid.partition("::")[0]) or nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each test where there is room; those that share something costly in one process."""
    return _Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Leave out what takes long, unless a marker expression or a test's own id was given."""
    named = any("::" in argument for argument in config.args)
    if not config.option.markexpr and not named:
        config.option.markexpr = "not slow and not deploy"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs RabbitMQ where there is none."""
    if not os.environ.get("TEST_AMQP_URL"):
        for item in items:
            if item.get_closest_marker("rabbitmq"):
                item.add_marker(pytest.mark.skip(reason="no RabbitMQ"))


def pytest_collection_finish() -> None:
    """Look for garbage no more among what was collected, which stays till the end."""
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Wait for RabbitMQ, which may still be starting."""
    if item.get_closest_marker("rabbitmq"):
        wait_until_up(os.environ["TEST_AMQP_URL"])


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what was counted, and what was not run, where nobody overlooks it."""
    ran = [
        report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])
    ]
    for report in ran:
        for name, value in report.user_properties:
            if name == "counted" and report.when == "call":
                terminalreporter.line(str(value))
    reasons = [str(one.longrepr) for one in terminalreporter.stats.get("skipped", [])]
    for absent, advice in _ABSENT.items():
        if skipped := sum(absent in reason for reason in reasons):
            terminalreporter.section(f"NOT RUN: {absent}", sep="!", red=True, bold=True)
            needed = absent.removeprefix("no ")
            terminalreporter.line(f"{skipped} tests need {needed} and were NOT RUN. To run them:")
            for line in advice:
                terminalreporter.line(f"    {line}")
