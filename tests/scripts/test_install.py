"""What scripts/start does before anything is installed."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.running import ROOT


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_install", ROOT / "scripts" / "_install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_blocks_are_the_whole_lock(install: ModuleType) -> None:
    lock = ROOT / "requirements" / "embedded.txt"
    blocks = install._blocks(lock)
    assert "gunicorn-h1c" in blocks
    comments = sum(line.startswith("#") for line in lock.read_text().splitlines())
    lines = sum(block.count("\n") for block in blocks.values())
    assert lines + comments == lock.read_text().count("\n")


def test_goes_on_without_compiler(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.shutil, "which", lambda _: None)
    monkeypatch.setattr(install, "_pip", lambda *_: pytest.fail("nothing can be built"))
    assert install._compile("gunicorn-h1c==0.6.10\n") is False


def test_larger_lock_makes_the_smaller_needless(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_is_installed", lambda lock: lock == install.EVERYTHING)
    monkeypatch.setattr(install, "_install", lambda _: pytest.fail("it is there"))
    install.ensure(ROOT / "requirements" / "embedded.txt")


def test_settings_have_what_they_need_installed(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(install, "ensure", lambda lock: installed.append(lock.name))
    monkeypatch.setattr(install.os, "execv", lambda *_: None)
    monkeypatch.setattr(install.sys, "argv", ["_install.py", "embedded", "program"])
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    install.main()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    install.main()
    assert installed == ["embedded.txt", "embedded.txt", "tracing.txt"]
