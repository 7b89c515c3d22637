"""What is wrong on this host: settings, files, waiting clicks, certificates, limits, processes."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from api.clicks.folder import new_segment_id
from api.core.load import Counters, LoadFile, WorkerLoad
from tests.doctor.asking import bad, examine
from tests.running import ROOT, clean_environ
from tests.scripting import run_script
from tests.services.network import free_ports


def test_settings_are_named_one_by_one(home: Path) -> None:
    for name in ("secret.key", "admin.key"):
        (home / name).write_text("x" * 64)
        (home / name).chmod(0o644 if name == "admin.key" else 0o600)
    environ = clean_environ(
        home,
        PORT="eighty",
        DB_POOL_SIZE="0",
        DATABASE_URI="postgresql://nobody@127.0.0.1/none",
        SIGNPOST_HOMES="x",
        SIGNPOST_SERVICE_HOST="10.0.0.1",  # Kubernetes' own
        TLS_KEY=str(home / "admin.key"),
        METRICS_TOKEN="changeme-changeme",
        SECRET_KEY="k3Jd9sLq0vBn5Xz7",
        BASE_URL="https://go.example.com",
    )
    status, findings = examine(environ, "--only", "settings")
    assert status == 1
    assert bad(findings) == {
        "PORT": "wrong",
        "DB_POOL_SIZE": "wrong",
        "TLS_KEY": "wrong",
        "DATABASE_URI": "warning",
        "SIGNPOST_HOMES": "warning",
        "METRICS_TOKEN": "wrong",
        "SECRET_KEY": "warning",
        "admin.key": "wrong",
        "BASE_URL": "warning",
        "capacity": "unknown",
    }
    assert "Is DATABASE_URL meant?" in findings["DATABASE_URI"]["advice"]
    assert findings["admin.key"]["command"] == f"chmod 600 {home / 'admin.key'}"
    assert "There is no TLS_CERTIFICATE" in findings["TLS_KEY"]["found"]
    assert "TRUSTED_PROXIES" in findings["BASE_URL"]["advice"]


def test_clicks_that_wait_or_are_lost_are_told_of(home: Path) -> None:
    spool = home / "spool"
    spool.chmod(0o755)
    ten_minutes_ago = int((time.time() - 600) * 1000)
    (spool / f"{new_segment_id(ten_minutes_ago)}.ready").write_bytes(b"x" * 1_000_001)
    # Nobody holds its lock: its writer is dead.
    (spool / f"{new_segment_id(ten_minutes_ago)}.open").write_bytes(b"x")
    (spool / "rejected").mkdir()
    (spool / "rejected" / f"{new_segment_id(ten_minutes_ago)}.ready").write_bytes(b"x")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    (spool / "lost").write_text(f'{{"from":"{now}","to":"{now}","clicks":7}}\n{{"fr')
    before = sorted(home.rglob("*"))

    environ = clean_environ(home, SPOOL_MAX_BYTES="1000000")
    status, findings = examine(environ, "--only", "disk")

    assert status == 1
    assert bad(findings) == {
        "spool": "warning",
        "waiting clicks": "wrong",
        "orphaned segments": "warning",
        "rejected": "warning",
        "lost clicks": "wrong",
    }
    assert findings["spool"]["command"] == f"chmod 700 {spool}"
    assert findings["waiting clicks"]["found"].endswith("wait, the oldest for 600 s")
    assert findings["rejected"]["command"] == "scripts/dead-letters --spool list"
    assert findings["lost clicks"]["found"].startswith("7 in all, the last at ")
    assert sorted(home.rglob("*")) == before
    # A disk that is smaller than what the spool may take.
    _, findings = examine(environ | {"SPOOL_MAX_BYTES": str(1 << 60)}, "--only", "disk")
    assert findings["space"]["status"] == "warning"
    assert "lower SPOOL_MAX_BYTES" in findings["space"]["advice"]


def test_certificates_that_end_or_do_not_fit_are_named(home: Path) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)

    def issue(name: str, days: float) -> tuple[Path, Path]:
        made = authority.issue_cert(
            name, not_before=now - timedelta(days=90), not_after=now + timedelta(days=days)
        )
        files = home / f"{name}.pem", home / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(files[0]))
        made.private_key_pem.write_to_path(str(files[1]))
        files[1].chmod(0o600)
        return files

    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    good, soon, over = issue("good.test", 60), issue("soon.test", 7), issue("over.test", -1)
    soon[1].chmod(0o604)
    chain = home / "chain.pem"
    chain.write_bytes(good[0].read_bytes() + soon[0].read_bytes())
    environ = clean_environ(
        home,
        TLS_CERTIFICATE=str(chain),
        TLS_KEY=str(soon[1]),
        BASE_URL="https://other.test",
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none?sslmode=verify-full"
        f"&sslrootcert={home / 'ca.pem'}&sslcert={over[0]}&sslkey={over[1]}",
        REDIS_URL=f"rediss://127.0.0.1:1/0?ssl_certfile={good[0]}&ssl_keyfile={good[1]}",
    )
    status, findings = examine(environ, "--only", "certificates")
    assert status == 1
    assert bad(findings) == {
        "TLS_CERTIFICATE": "warning",
        "key of TLS_CERTIFICATE": "wrong",
        "chain of TLS_CERTIFICATE": "wrong",
        "name in TLS_CERTIFICATE": "warning",
        "DATABASE_URL": "wrong",
        "certificate of main": "unknown",
        "certificate of redis": "unknown",
    }
    assert ", 7 days" in findings["TLS_CERTIFICATE"]["found"]
    assert f"{over[0]} expired on " in findings["DATABASE_URL"]["found"]
    assert (
        findings["REDIS_URL"]["status"] == findings["authority of DATABASE_URL"]["status"] == "ok"
    )


def test_a_server_whose_certificate_is_over_is_named(home: Path) -> None:
    now = datetime.now(UTC)
    made = trustme.CA().issue_cert("localhost", not_before=now - timedelta(days=9), not_after=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.configure_cert(context)

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with suppress(ssl.SSLError), server.accept()[0] as plain:
                    context.wrap_socket(plain, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        environ = clean_environ(home, REDIS_URL=f"rediss://127.0.0.1:{port}/0")
        found = examine(environ, "--only", "certificates")[1]["certificate of redis"]
    assert found["status"] == "wrong"
    assert f"127.0.0.1:{port} expired on {now:%Y-%m-%d}" in found["found"]


def test_what_the_host_allows_is_held_against_what_is_wanted(home: Path) -> None:
    environ = clean_environ(home, REDIRECT_CACHE_BYTES=str(1 << 44))
    program = f"ulimit -n 300; exec {sys.executable} scripts/doctor --only host --json"
    done = subprocess.run(
        ["bash", "-c", program], check=False, cwd=ROOT, env=environ, capture_output=True, text=True
    )
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert findings["open files"]["found"].endswith("may open 300, and needs 1200")
    assert findings["open files"]["command"] == "ulimit -n 4096"
    assert findings["memory"]["status"] == "warning"


def test_a_web_worker_that_is_silent_is_named(home: Path) -> None:
    file = LoadFile(home / "load")
    long_ago = Counters(time.monotonic_ns() - 60_000_000_000, 0, 0, 0, 0, 0)
    file.write(WorkerLoad(os.getpid(), os.getppid(), 0, 0, 100, long_ago, long_ago))
    with closing(file):
        environ = clean_environ(home, PORT=str(free_ports(1)[0]))
        done = run_script("doctor", "--only", "processes", "--json", env=environ)
    told = json.loads(done.stdout)["findings"]
    assert (told[0]["check"], told[0]["status"]) == ("web", "wrong")
    assert told[0]["found"] == f"worker {os.getpid()} is silent for 60 s"
    # It should answer there, and without a broker there should be a consumer here.
    assert [it["check"] for it in told if it["status"] == "wrong"] == ["web", "readiness", "clicks"]
