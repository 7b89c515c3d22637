"""What the product is made of: told in full, asked about, and free of secrets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import api
from tests.running import ROOT
from tests.scripting import run_script
from tests.scripts.test_locks import LOCKS, pins

VULNERABLE = "werkzeug"


class _Database(BaseHTTPRequestHandler):
    """OSV's API, which knows one vulnerability of one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = [_advisory()] if asked["package"]["name"] == VULNERABLE else []
        body = json.dumps({"vulns": known if self.server.knows else []}).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


def _advisory() -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.1"}]}]
    package = {"name": VULNERABLE, "ecosystem": "PyPI"}
    return {
        "id": "PYSEC-2999-1",
        "aliases": ["CVE-2999-0001"],
        "modified": "2026-01-01T00:00:00Z",
        "published": "2026-01-01T00:00:00Z",
        "details": "A test.",
        "affected": [{"package": package, "ranges": ranges}],
    }


@pytest.fixture
def database() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Database) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script(script, *arguments, env=os.environ)


def audit(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("audit", "--osv-url", f"http://127.0.0.1:{port}/v1/query", *arguments)


def test_audit_names_what_is_vulnerable_and_where(database: ThreadingHTTPServer) -> None:
    database.knows = True  # type: ignore[attr-defined]
    done = audit(database.server_port, "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["packages"] >= len({name for name, _ in pins("requirements.txt")})
    (found,) = report["vulnerabilities"]
    assert (found["package"], found["aliases"]) == (VULNERABLE, ["CVE-2999-0001"])
    assert found["fixed_in"] == ["999.1"]
    assert "requirements.txt" in found["locks"]

    told = audit(database.server_port)
    assert told.returncode == 1
    assert f"{VULNERABLE} " in told.stdout and "CVE-2999-0001" in told.stdout

    accepted = audit(database.server_port, "--ignore", "PYSEC-2999-1")
    assert accepted.returncode == 0, accepted.stdout


def test_audit_is_content_only_when_all_were_asked(database: ThreadingHTTPServer) -> None:
    database.knows = False  # type: ignore[attr-defined]
    done = audit(database.server_port)
    assert done.returncode == 0, done.stderr
    assert "no known vulnerabilities" in done.stdout


def test_audit_says_clearly_that_nobody_was_asked() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = audit(port)
    assert done.returncode == 3
    assert "NOT CHECKED" in done.stderr
    report = json.loads(audit(port, "--json").stdout)
    assert report["status"] == "unknown"
    assert report["reason"]


@pytest.mark.parametrize("kind", ["server", pytest.param("dev", marks=pytest.mark.slow)])
def test_bill_of_materials_lists_each_pin_with_its_hashes(kind: str) -> None:
    lock = {"server": "requirements.txt", "dev": "requirements/dev.txt"}[kind]
    done = run("sbom", "--of", kind)
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout
    assert run("sbom", "--of", kind).stdout == done.stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout) is None
    bill = json.loads(done.stdout)
    product = bill["metadata"]["component"]
    assert (product["name"], product["version"]) == ("signpost", api.__version__)
    listed = {f"{each['name']}=={each['version']}": each for each in bill["components"]}
    pinned = {f"{name}=={pin.partition(' ;')[0]}" for name, pin in pins(lock)}
    assert set(listed) == pinned
    for name, each in listed.items():
        assert each["purl"] == "pkg:pypi/" + name.replace("==", "@"), name
        (source,) = each["externalReferences"]
        assert all(found["alg"] == "SHA-256" for found in source["hashes"])
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert all(f"sha256:{found['content']}" in text for found in source["hashes"]), name
        assert source["hashes"], name


def test_updates_are_asked_for_each_lock() -> None:
    asked = (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")
    for folder in {Path(lock).parent for lock in LOCKS}:
        assert f'"/{folder}"'.replace("/.", "/") in asked
    assert "/bench/rivals/express" in asked


# Runs a script as if a module were not installed.
_WITHOUT = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
missing, script = sys.argv[1:]
importlib.util.find_spec = lambda name, *more: None if name == missing else find(name, *more)
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("script", "module", "status"), [("sbom", "cyclonedx_py", 1), ("audit", "pip_audit", 3)]
)
def test_tool_that_is_missing_is_named_with_what_installs_it(
    script: str, module: str, status: int
) -> None:
    command = [sys.executable, "-c", _WITHOUT, module, str(ROOT / "scripts" / script)]
    path = {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=path, cwd=ROOT)

    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert "is not installed: pip install -r requirements/dev.txt" in line
