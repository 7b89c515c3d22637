"""What a release before wrote is read, what this one writes has not changed under the same version,
and what a later one may add is read past."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from api.core.copies import SharedCopies
from api.core.evictions import Evictions
from api.live.messages import read_message
from api.redirects import shared
from api.redirects.cache import Target
from tests.messages.samples import (
    CLICK,
    EPOCH,
    FOLDER,
    KEY,
    KEYS,
    LINK,
    SAMPLES,
    SECRET,
    TARGET,
    Sample,
)

# Differs each time that it is written.
_ITS_OWN = frozenset(
    ("correlation_id", "reply_to", "id", "root_id", "expires", "origin", "delivery_info")
)
BY_NAME = {sample.name: sample for sample in SAMPLES}


def kept(name: str) -> bytes:
    return BY_NAME[name].path.read_bytes()


def test_there_is_a_sample_of_each_present_version() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert {sample.path.name for sample in SAMPLES} <= names
    for name in names:
        form, _, version = name.rpartition("-v")
        assert 1 <= int(version) <= BY_NAME[form].version


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(it, id=it.name, marks=[pytest.mark.rabbitmq] * it.name.startswith("job"))
        for it in SAMPLES
        if it.name != "copy"
    ],
)
def test_a_form_that_changed_has_another_version(sample: Sample) -> None:
    """If this fails, readers of the release before may not understand us: raise the version, keep
    the sample, and have both read."""
    ours, before = sample.write(), sample.path.read_bytes()
    if ours != before:
        assert without_its_own(json.loads(ours)) == without_its_own(json.loads(before))


def without_its_own(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: without_its_own(inner) for name, inner in value.items() if name not in _ITS_OWN}


def the_copies(secret: bytes = SECRET) -> SharedCopies:
    return SharedCopies("redis://127.0.0.1:1/0", 0.1, secret)


def test_a_copy_of_before_is_believed_and_read() -> None:
    held = kept("copy")
    look = the_copies()._open(KEY, held, EPOCH, 0.0)
    assert look.body is not None
    assert shared._unpack(look.body) == TARGET
    # And it is what this code would write with that nonce and that end of life.
    assert the_copies()._signature(KEY, held[32:]) + held[32:] == held


def test_a_copy_of_a_later_version_is_read_from_the_database() -> None:
    version, fields = orjson.loads(kept("link-fields"))
    for body in (
        orjson.dumps([version + 1, fields]),
        orjson.dumps([version + 1, {"url": "https://example.com/"}]),
        orjson.dumps([version, [*fields, "more"]]),  # a field more is another version
    ):
        with pytest.raises((ValueError, TypeError)):
            shared._unpack(body)
    later = b"sha3-" + kept("copy")
    assert the_copies()._open(KEY, later, EPOCH, 0.0).body is None
    assert the_copies(b"another")._open(KEY, kept("copy"), EPOCH, 0.0).body is None


def test_fields_and_misses_of_before_are_read() -> None:
    assert shared._unpack(kept("link-fields")) == TARGET
    assert shared._unpack(kept("link-missing")) is None
    assert len(orjson.loads(kept("link-fields"))[1]) == len(Target.__dataclass_fields__) - 1


class Listener:
    """Who is told of evictions."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.evictions = Evictions(None, 0.1)
        self.evictions.on_evict(self.heard.extend)


def test_evictions_of_before_are_heard_and_unknown_things_passed_on() -> None:
    listener = Listener()
    listener.evictions._evict(kept("eviction"))
    assert listener.heard == KEYS
    # Of a kind that this code does not know: whoever listens compares keys, and has none such.
    listener.evictions._evict(b'["future:1","link:go.example.com/x"]')
    assert listener.heard == [*KEYS, "future:1", "link:go.example.com/x"]


@pytest.mark.parametrize("message", [b'{"v":2,"keys":["link:a/b"]}', b"\x00\x01", b"[1]", b""])
def test_an_eviction_of_another_form_evicts_nothing(message: bytes) -> None:
    listener = Listener()
    listener.evictions._evict(message)
    assert listener.heard == []


def test_live_clicks_of_before_and_with_more_are_read() -> None:
    message = read_message(kept("live"))
    assert message is not None
    assert message.skipped == 0
    assert message.clicks[0]["link_id"] == str(LINK)
    assert message.clicks[0]["browser"] == CLICK.browser
    told = orjson.loads(kept("live"))
    told["clicks"][0]["weather"] = "fine"
    more = read_message(orjson.dumps({**told, "shard": "main"}))
    assert more is not None
    assert more.clicks[0].items() >= message.clicks[0].items()
