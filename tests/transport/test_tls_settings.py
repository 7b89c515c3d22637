"""A start is refused, in one line, where TLS could not work or would not mean anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import Settings, SettingsError
from tests.running import ROOT, clean_environ
from tests.services.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def no_certificate(tmp_path: Path) -> Path:
    path = tmp_path / "empty.pem"
    path.write_text("nothing of use\n")
    return path


DATABASE, REDIS, AMQP = "postgresql://me@db.test/x", "rediss://cache.test", "amqps://mq.test/%2F"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (
            "DATABASE_URL",
            f"{DATABASE}?sslmode=verify-full&sslrootcert=/no/ca",
            "sslrootcert: .*/no",
        ),
        ("DATABASE_URL", f"{DATABASE}?sslmode=verify-ca&sslrootcert=EMPTY", "sslrootcert: .*holds"),
        ("DATABASE_URL", f"{DATABASE}?sslmode=verify", "sslmode: Must be one of"),
        ("DATABASE_URL", f"{DATABASE}?sslrootcerts=CA", "sslrootcerts"),
        ("DATABASE_URL", f"{DATABASE}?sslcert=/no/cert", "sslcert: .*/no/cert"),
        ("DATABASE_URL", f"{DATABASE}?sslkey=/no/key", "sslkey: .*/no/key"),
        ("REDIS_URL", f"{REDIS}?ssl_ca_certs=/no/ca", "ssl_ca_certs: .*/no/ca"),
        ("REDIS_URL", f"{REDIS}?ssl_ca_certs=EMPTY", "ssl_ca_certs: .*holds no certificate"),
        ("REDIS_URL", f"{REDIS}?ssl_certfile=/no/cert", "ssl_certfile: .*/no/cert"),
        ("REDIS_URL", f"{REDIS}?ssl_cert_reqs=perhaps", "perhaps"),
        ("REDIS_URL", f"{REDIS}?ssl_ca_cert=/no/ca", "ssl_ca_cert"),
        ("REDIS_URL", "redis://cache.test?ssl_ca_certs=CA", "ssl_ca_certs"),
        ("REDIS_URL", "rediss+cluster://a.test,b.test?ssl_ca_certs=/no/ca", "ssl_ca_certs: .*/no"),
        ("REDIS_URL", "redis+cluster://a.test,b.test?ssl_ca_certs=CA", "ssl_ca_certs"),
        ("AMQP_URL", f"{AMQP}?cacertfile=/no/ca", "cacertfile: .*/no/ca"),
        ("AMQP_URL", f"{AMQP}?cacertfile=EMPTY", "cacertfile: .*holds no certificate"),
        ("AMQP_URL", f"{AMQP}?certfile=/no/cert", "certfile: .*/no/cert"),
        ("AMQP_URL", f"{AMQP}?cafile=CA", "cafile"),
        ("AMQP_URL", f"{AMQP}?verify=verify_none", "verify"),
        ("AMQP_URL", "amqp://mq.test/%2F?cacertfile=CA", "cacertfile: Only of amqps"),
        ("TLS_CERTIFICATE", "/no/cert", "no file /no/cert"),
        ("TLS_KEY", "CA", "no TLS_CERTIFICATE"),
    ],
)
def test_start_is_refused_with_the_reason(
    authority: Authority, no_certificate: Path, name: str, value: str, complaint: str
) -> None:
    value = value.replace("CA", str(authority.file)).replace("EMPTY", str(no_certificate))

    with pytest.raises(SettingsError, match=rf"^{name}: .*{complaint}") as refused:
        Settings.load({name: value})

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"{DATABASE}?sslmode=verify-full&sslrootcert=CA"),
        ("DATABASE_URL", f"{DATABASE}?sslmode=verify-full&sslrootcert=system"),
        ("DATABASE_URL", f"{DATABASE}?sslmode=require"),
        ("REDIS_URL", f"{REDIS}:6380/1?ssl_ca_certs=CA&ssl_cert_reqs=required"),
        ("REDIS_URL", f"{REDIS}?ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss+cluster://a.test:7000,b.test?ssl_ca_certs=CA"),
        ("AMQP_URL", f"{AMQP}?cacertfile=CA&verify=verify_peer&heartbeat=10"),
        ("AMQP_URL", f"{AMQP}?ssl_options=%7B'ca_certs':'CA'%7D"),
    ],
)
def test_what_can_work_is_taken(authority: Authority, name: str, value: str) -> None:
    value = value.replace("CA", str(authority.file))

    assert getattr(Settings.load({name: value}), name.lower()) is not None


def test_authority_may_be_where_libpq_looks(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    environ = {"DATABASE_URL": f"{DATABASE}?sslmode=verify-full"}
    with pytest.raises(SettingsError, match="sslrootcert"):
        Settings.load(environ)

    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql/root.crt").write_bytes(authority.file.read_bytes())

    assert Settings.load(environ).database_url


def test_public_address_is_https_with_an_own_certificate(authority: Authority) -> None:
    issued = authority.issue("localhost")

    settings = Settings.load({"TLS_CERTIFICATE": str(issued.certificate), "PORT": "8443"})

    assert settings.public_url == "https://127.0.0.1:8443"


@pytest.mark.parametrize("wrong", ["other key", "no key", "locked key"])
def test_web_server_does_not_start_with_a_certificate_it_cannot_use(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    issued, other = authority.issue("localhost"), authority.issue("localhost")
    key = {"other key": other.key, "no key": issued.certificate}.get(wrong, tmp_path / "locked")
    if wrong == "locked key":
        lock = ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", issued.key]
        subprocess.run([*lock, "-out", key], check=True, capture_output=True)
    settings = {"TLS_CERTIFICATE": str(issued.certificate), "TLS_KEY": str(key)}

    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"],
        check=False,
        cwd=ROOT,
        env=clean_environ(tmp_path, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("gunicorn: TLS_CERTIFICATE: ")
    assert str(issued.certificate) in line
