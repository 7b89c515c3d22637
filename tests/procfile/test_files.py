"""The files by which a Procfile host knows what to do, and that they tell the same."""

from __future__ import annotations

import json
import os
import re
from configparser import ConfigParser
from dataclasses import fields

import jsonschema
import pytest

from config.settings import Settings
from tests.running import ROOT

PROCESSES = dict(
    re.findall(r"^([A-Za-z0-9_-]+): (.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
)
APP = json.loads((ROOT / "app.json").read_text())
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}


def _an_object(needed: tuple[str, ...] = (), /, **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(needed),
        "additionalProperties": False,
    }


def _by_name(value: object) -> dict[str, object]:
    return {"type": "object", "additionalProperties": value}


# https://devcenter.heroku.com/articles/app-json-schema
_VARIABLE = _an_object(
    description=_TEXT,
    value={"type": "string"},
    required={"type": "boolean"},
    generator={"const": "secret"},
)
_FIELDS = {
    "addons": {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string", "pattern": "^[a-z0-9-]+(:[a-z0-9-]+)?$"},
                _an_object(("plan",), plan=_TEXT, **{"as": _TEXT}, options={"type": "object"}),
            ]
        },
    },
    "buildpacks": {"type": "array", "items": _an_object(("url",), url=_TEXT)},
    "description": _TEXT,
    "env": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]*$"},
        "additionalProperties": {"anyOf": [{"type": "string"}, _VARIABLE]},
    },
    "environments": _by_name({"type": "object"}),
    "formation": _by_name(
        _an_object(("quantity",), quantity={"type": "integer", "minimum": 0}, size=_TEXT)
    ),
    "image": _TEXT,
    "keywords": _TEXTS,
    "logo": {"type": "string", "pattern": "^https?://"},
    "name": {"type": "string", "minLength": 1, "maxLength": 30},
    "repository": {"type": "string", "pattern": "^https?://"},
    "scripts": _by_name(_TEXT),
    "stack": {"enum": ["heroku-22", "heroku-24"]},
    "success_url": {"type": "string", "pattern": "^(/|https?://)"},
    "website": {"type": "string", "pattern": "^https?://"},
}


def test_app_json_has_only_what_heroku_documents() -> None:
    jsonschema.validate(APP, _an_object(**_FIELDS))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(APP | {"processes": {}}, _an_object(**_FIELDS))


def test_app_json_names_processes_of_the_procfile_and_our_settings() -> None:
    assert set(APP["formation"]) == set(PROCESSES) - {"release"}
    settings = {item.name.upper() for item in fields(Settings)}
    assert set(APP["env"]) <= settings
    values = {name: it["value"] for name, it in APP["env"].items() if "value" in it}
    assert Settings.load(values).redis_tls_verify is False


def test_procfile_starts_what_is_there() -> None:
    assert list(PROCESSES) == ["release", "web", "redirect", "api", "clicks", "worker"]
    for command in [*PROCESSES.values(), *APP["scripts"].values()]:
        words = [word for word in command.split() if "=" not in word]
        if words[0] == "gunicorn":
            assert (ROOT / words[2]).is_file()
        else:
            assert os.access(ROOT / words[0], os.X_OK)
    for service in ("redirect", "api"):
        assert f"SIGNPOST_SERVICES={service} " in PROCESSES[service]
        assert PROCESSES[service].endswith(PROCESSES["web"])


def test_python_is_one_that_the_package_allows() -> None:
    asked = (ROOT / ".python-version").read_text().strip()
    assert re.fullmatch(r"3\.\d+", asked)
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    low = setup["options"]["python_requires"].removeprefix(">=")
    assert tuple(map(int, asked.split("."))) >= tuple(map(int, low.split(".")))


def test_hosts_install_pinned_packages() -> None:
    """A host installs `requirements.txt`, and takes no package for another."""
    text = (ROOT / "requirements.txt").read_text()
    pins = re.findall(r"^[A-Za-z0-9._-]+==", text, re.MULTILINE)
    assert len(pins) > 20
    assert text.count("--hash=sha256:") >= len(pins)
    assert "honcho" not in text
