"""What scripts/test adds to pytest: long tests wait to be asked for, absent servers are shouted."""

from __future__ import annotations

import os
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
# Modules whose tests share what takes long to fill or to start: one process does it for them.
_TOGETHER = {
    "tests/contracts/test_query_plans.py": "filled tables",
    "tests/contracts/test_chore_plans.py": "filled tables",
    "tests/gateway/test_bounds.py": "gateway",
    "tests/gateway/test_deploy.py": "deployment",
    "tests/gateway/test_rolling.py": "gateway",
    "tests/gateway/test_routes.py": "gateway",
    "tests/gateway/test_stopping.py": "gateway",
    "tests/gateway/test_tls.py": "gateway",
} | {
    f"tests/{module}.py": module
    for module in (
        "autoscaling/test_host",
        "containers/test_image",
        "chaos/test_worker_death",
        "cluster/test_story",
        "contracts/test_query_counts",
        "contracts/test_redis_keys",
        "contracts/test_server_errors",
        "live/test_streams",
        "live/test_whole",
        "metrics/test_names",
        "metrics/test_processes",
        "oauth/test_real_clients",
        "redirects/test_two_processes",
        "redirects/wire/test_changes",
        "redirects/wire/test_slow_clients",
        "replicas/test_failures",
        "reports/test_processes",
        "scripts/test_start",
        "shards/test_moving",
        "transport/test_tls_servers",
    )
}


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return _TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each test where there is room; those of some modules in one process."""
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
