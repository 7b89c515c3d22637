"""`scripts/gateway`: what it writes, what it refuses, and what it says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from api.operations.gateway.certificates import Certificates
from api.operations.gateway.configuration import render
from api.operations.gateway.nginx import closed_to_workers
from config.settings import Settings, SettingsError
from tests.gateway.system import HOST, Gateway
from tests.running import ROOT
from tests.services.certificates import Authority

TEMPLATES = ROOT / "deploy" / "gateway"
SERVERS = {
    "GATEWAY_REDIRECT_SERVERS": "127.0.0.1:8001,127.0.0.1:8002",
    "GATEWAY_API_SERVERS": "[::1]:8003",
}


@pytest.fixture
def gateway(authority: Authority, tmp_path: Path) -> Gateway:
    made = Gateway(tmp_path, authority, **SERVERS)
    made.add_certificate(HOST)
    return made


def test_check_asks_nginx_and_writes_nothing(gateway: Gateway) -> None:
    done = gateway.write("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (gateway.home / "nginx.conf").exists()


def test_every_setting_is_something_that_nginx_takes(gateway: Gateway) -> None:
    done = gateway.write(
        "--check",
        GATEWAY_DEFAULT_CERTIFICATE=HOST,
        GATEWAY_RESOLVER="127.0.0.1:53",
        GATEWAY_PROXY_PROTOCOL_FROM="10.0.0.0/8,::1/128",
        GATEWAY_REQUESTS_PER_SECOND="0",
        GATEWAY_API_REQUESTS_PER_SECOND="0",
        GATEWAY_CONNECTIONS="0",
        GATEWAY_CONNECT_SECONDS="0.25",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"GATEWAY_REDIRECT_SERVERS": "one"}, "GATEWAY_REDIRECT_SERVERS: Not of the form"),
        ({"GATEWAY_REDIRECT_SERVERS": "a;b:80"}, "GATEWAY_REDIRECT_SERVERS: Not of the form"),
        ({"GATEWAY_REDIRECT_SERVERS": ","}, "GATEWAY_REDIRECT_SERVERS: Must name one"),
        ({"GATEWAY_API_SERVERS": "[::1]"}, "GATEWAY_API_SERVERS: Not of the form"),
        ({"GATEWAY_LISTEN": "here"}, "GATEWAY_LISTEN: "),
        ({"GATEWAY_USER": "a b"}, "GATEWAY_USER: String does not match"),
        ({"GATEWAY_DEFAULT_CERTIFICATE": "no.test"}, "GATEWAY_DEFAULT_CERTIFICATE: There is no"),
        ({"GATEWAY_HOME": "/tmp/a$b"}, "nginx cannot use the path"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(complaint)):
        render(Settings.load(settings), Certificates(), TEMPLATES)


def test_what_nginx_refuses_is_one_line_and_not_written(gateway: Gateway) -> None:
    done = gateway.write(GATEWAY_REDIRECT_SERVERS="no-such-host.invalid:80")
    assert done.returncode == 1
    assert "host not found in upstream" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (gateway.home / "nginx.conf").exists()


def test_drained_server_gets_nothing(gateway: Gateway) -> None:
    drained = gateway.write("--dry-run", "--drain", "127.0.0.1:8002").stdout
    assert "server 127.0.0.1:8002 down;" in drained
    assert "server 127.0.0.1:8001 max_fails" in drained
    for place, complaint in (
        ("127.0.0.1:9", "none of the gateway's servers"),
        ("[::1]:8003", "no api server would be left"),
    ):
        with pytest.raises(SettingsError, match=complaint):
            render(Settings.load(SERVERS), Certificates(), TEMPLATES, [place])


def test_unusable_certificates_are_left_out_and_told(gateway: Gateway) -> None:
    gateway.add_certificate("sound.test")
    gateway.add_certificate("swapped.test")
    key = gateway.certificates / "swapped.test" / "privkey.pem"
    key.write_bytes((gateway.certificates / HOST / "privkey.pem").read_bytes())
    gateway.add_certificate("empty.test")
    (gateway.certificates / "empty.test" / "fullchain.pem").write_text("")
    (gateway.certificates / "README").write_text("as certbot leaves it")
    done = gateway.write()
    assert done.returncode == 0
    assert "swapped.test is left out: " in done.stderr
    assert "empty.test is left out: " in done.stderr
    text = (gateway.home / "nginx.conf").read_text()
    assert "server_name sound.test;" in text
    assert "swapped.test" not in text
    assert "empty.test" not in text


def test_host_of_two_certificates_gets_that_of_its_own_folder(gateway: Gateway) -> None:
    gateway.add_certificate("all.test", "one.test", "two.test")
    gateway.add_certificate("one.test")
    text = gateway.write("--dry-run").stdout
    assert "server_name all.test two.test;" in text
    assert "server_name one.test;" in text


def test_gateway_without_certificates_can_be_asked_for_them(
    authority: Authority, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path, authority)
    done = gateway.write("--check")
    assert done.returncode == 0
    assert "there is no folder" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="others' accounts are not ours to use")
def test_home_that_nginx_cannot_enter_is_told(gateway: Gateway, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert closed_to_workers(gateway.home, "root") is None
    assert closed_to_workers(gateway.home, None) is not None
    done = gateway.write("--check", GATEWAY_USER="nobody")
    assert "nginx's workers cannot enter" in done.stderr


def test_documents_name_switches_that_there_are() -> None:
    template = (TEMPLATES / "nginx.conf.j2").read_text(encoding="utf-8")
    switches = set(re.findall(r"-f .*/(maintenance\S*?)\"", template))
    assert switches == {"maintenance.api", "maintenance.redirect"}
    for path in (ROOT / "docs").glob("*.md"):
        named = set(re.findall(r"/(maintenance[.\w*]*)", path.read_text(encoding="utf-8")))
        assert named <= {*switches, "maintenance.*"}, path.name
