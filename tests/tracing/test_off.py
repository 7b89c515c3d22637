"""Where nothing is to be traced, nothing is wrapped; where it is, all is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.running import ROOT

_LOOK = """
import json, sys, redis, wsgi
from api.core.database import hosts
from api.redirects.fast import FastPath
fast = wsgi.app.extensions["signpost.fast"].func
print(json.dumps({
    "application": type(wsgi.app.wsgi_app).__name__,
    "redis": [hasattr(one, "__wrapped__") for one in
              (redis.Redis.execute_command, redis.client.Pipeline.execute)],
    "driver": sorted(hosts.driver_options),
    "fast": fast.__name__,
    "spool": type(wsgi.app.extensions["signpost"].spool).__name__,
    "loaded": sorted({"api.core.tracing.setup", "opentelemetry.sdk.trace", "google.protobuf",
                      "opentelemetry.exporter"} & set(sys.modules)),
}))
"""


def looked(home: Path, database_url: str, **settings: str) -> dict[str, object]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ |= {"DATABASE_URL": database_url, "SIGNPOST_HOME": str(home)} | settings
    done = subprocess.run(
        [sys.executable, "-c", _LOOK],
        check=True,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_nothing_is_wrapped_unless_it_is_asked_for(tmp_path: Path, database_url: str) -> None:
    assert looked(tmp_path, database_url) == {
        "application": "_WithScheme",
        "redis": [False, False],
        "driver": [],
        "fast": "FastPath",
        "spool": "Spool",
        # redis-py loads what OpenTelemetry has for metrics by itself, where that is installed.
        "loaded": [],
    }
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert looked(tmp_path, database_url, **asked) == {
        "application": "TracedApplication",
        "redis": [True, True],
        "driver": ["connection_factory"],
        "fast": "TracedFastPath",
        "spool": "TracedSpool",
        # OpenTelemetry's packages only in each worker, after the fork.
        "loaded": ["api.core.tracing.setup"],
    }


def test_start_without_the_packages_says_how_to_get_them(tmp_path: Path) -> None:
    hidden = "import importlib.util as it; find = it.find_spec; " + (
        "it.find_spec = lambda name, *more: None if name == 'opentelemetry' else find(name, *more)"
    )
    load = "from config.settings import Settings; Settings.load()"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; {load}"],
        check=False,
        cwd=ROOT,
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.strip().endswith("pip install -r requirements/tracing.txt")
