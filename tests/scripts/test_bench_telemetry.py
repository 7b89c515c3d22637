"""`bench/telemetry` in short: that its servers differ as it says, and are compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import fields

import pytest

from bench.telemetry_cost.layers import LAYERS, REQUESTS, Layer
from config.settings import Settings
from tests.running import ROOT


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.slug)
def test_each_layer_is_made_of_settings_that_there_are(layer: Layer) -> None:
    known = {item.name.upper() for item in fields(Settings)}
    for request in REQUESTS:
        environ = layer.environ(request, "127.0.0.1:4318")
        assert environ.keys() <= known
        told = Settings.load(environ)
        assert (told.sentry_dsn is not None) == (layer.slug in ("sentry", "all"))
        traced = layer.slug == "all" or layer.slug.startswith("traces")
        assert (told.otel_exporter_otlp_endpoint is not None) == traced
        assert told.measures == layer.scraped


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.timeout(400)
def test_servers_that_tell_more_are_compared_with_one_that_tells_nothing() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "telemetry", "--quick", "--only", "list", "--json"],
        check=False, capture_output=True, text=True, timeout=390,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (comparison,) = json.loads(done.stdout)
    costs = {cost["layer"]: cost for cost in comparison["costs"]}
    assert list(costs) == [layer.name for layer in LAYERS if "list" in layer.asked]
    assert costs["nothing"]["share"] == {"median": 0.0, "least": 0.0, "most": 0.0}
    assert all(cost["cpu_us"] > 0 for cost in costs.values())
    # Of each request at least one span; of few requests, few.
    assert costs["traces, 100 %"]["spans"] > 10 * costs["traces, 1 %"]["spans"] > 0
    assert costs["traces, 0 %"]["spans"] == 0
    # Every request pays for a span of its own and its questions: far more than the noise.
    assert costs["traces, 100 %"]["more_us"]["median"] > 0
