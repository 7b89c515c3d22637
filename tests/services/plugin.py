"""What scripts/test adds to pytest: slow tests wait to be asked for, absent servers are shouted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.services.rabbitmq import INSTALL, wait_until_up

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_REASON = "no RabbitMQ"
# Modules whose tests share what takes long to fill: one process does it for all of them.
_TOGETHER = {
    "tests/contracts/test_query_counts.py": "query counts",
    "tests/contracts/test_query_plans.py": "filled tables",
    "tests/contracts/test_chore_plans.py": "filled tables",
    "tests/contracts/test_redis_keys.py": "keys",
    "tests/cluster/test_story.py": "cluster",
}


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return _TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each test where there is room; those of some modules in one process."""
    return _Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Leave out slow tests, unless a marker expression or a test's own id was given."""
    named = any("::" in argument for argument in config.args)
    if not config.option.markexpr and not named:
        config.option.markexpr = "not slow"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs RabbitMQ where there is none."""
    if not os.environ.get("TEST_AMQP_URL"):
        for item in items:
            if item.get_closest_marker("rabbitmq"):
                item.add_marker(pytest.mark.skip(reason=_REASON))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Wait for RabbitMQ, which may still be starting."""
    if item.get_closest_marker("rabbitmq"):
        wait_until_up(os.environ["TEST_AMQP_URL"])


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what was not run, where nobody overlooks it."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if _REASON in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("NOT RUN: no RabbitMQ", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests need RabbitMQ and were NOT RUN. To run them:")
        terminalreporter.line(f"    {INSTALL}    (as root; scripts/test as root does it itself)")
        terminalreporter.line("    or TEST_AMQP_URL=amqp://... scripts/test")
