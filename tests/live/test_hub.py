"""What a process keeps for its watchers, without a server around it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.core.errors import TooManyRequests, Unavailable
from api.live.hub import Limits, LiveHub
from api.live.messages import (
    Message,
    Subject,
    channel_of,
    read_message,
    subject_of,
    write_message,
)
from api.live.streams import LiveStream
from tests.live.reader import Event, parse
from tests.stats.samples import make_click

LINK = Subject(7, 21)


class Client:
    """The other end of a stream, near enough to be looked at."""

    def __init__(self) -> None:
        self.left = self.aborted = False

    def gone(self) -> bool:
        return self.left

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def hub() -> LiveHub:
    return LiveHub(
        Limits(streams=3, streams_per_workspace=2, buffered_events=4, heartbeat_seconds=0.2)
    )


def opened(hub: LiveHub, subject: Subject = LINK, client: Client | None = None) -> LiveStream:
    return hub.open(subject, client or Client(), lambda: True)


def clicks(*numbers: int, skipped: int = 0) -> Message:
    return Message([{"number": number} for number in numbers], skipped)


def events(stream: LiveStream) -> list[Event]:
    pieces = next(stream).decode().split("\n\n")
    return [event for event in map(parse, pieces[:-1]) if event is not None]


def test_clicks_reach_those_who_watch_them(hub: LiveHub) -> None:
    first, second, other = opened(hub), opened(hub), opened(hub, Subject(8))
    hub.deliver(LINK, clicks(1, 2, skipped=5))
    for stream in (first, second):
        names = [(event.name, event.data) for event in events(stream)]
        assert names == [
            ("skipped", {"count": 5}),
            ("click", {"number": 1}),
            ("click", {"number": 2}),
        ]
    assert [event.name for event in events(other)] == ["comment"]


def test_slow_reader_keeps_the_newest_and_every_gap(hub: LiveHub) -> None:
    stream = opened(hub)
    hub.confirm(LINK)
    hub.deliver(LINK, clicks(1, skipped=10))
    hub.lose()
    hub.confirm(LINK)
    for number in range(2, 10):
        hub.deliver(LINK, clicks(number))
    told = events(stream)
    assert [event.data.get("reason") for event in told[:2]] == ["lost", "resumed"]
    assert told[2].data == {"count": 10 + 5}
    assert [event.data for event in told[3:]] == [{"number": number} for number in range(6, 10)]


def test_streams_count_until_they_are_closed(hub: LiveHub) -> None:
    streams = [opened(hub), opened(hub)]
    with pytest.raises(TooManyRequests):
        opened(hub)
    streams.append(opened(hub, Subject(8)))
    with pytest.raises(Unavailable):
        opened(hub, Subject(9))
    for stream in streams:
        stream.close()
        stream.close()
    assert not hub.watched()
    assert [opened(hub), opened(hub)]


def test_client_that_left_is_noticed_in_silence(hub: LiveHub) -> None:
    client = Client()
    stream = opened(hub, client=client)
    client.left = True
    started = datetime.now(UTC)
    pieces = list(stream)
    assert set(pieces) == {b": heartbeat\n\n"}
    assert datetime.now(UTC) - started < timedelta(seconds=3)


def test_who_may_no_longer_watch_is_sent_away_although_clicks_come(hub: LiveHub) -> None:
    stream = hub.open(LINK, Client(), lambda: False)
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    hub.deliver(LINK, clicks(1))
    for _ in stream:
        hub.deliver(LINK, clicks(1))
        assert datetime.now(UTC) < deadline


def test_end_cuts_off_who_does_not_read(hub: LiveHub) -> None:
    reading, stuck = Client(), Client()
    streams = [opened(hub, client=reading), opened(hub, client=stuck)]
    hub.deliver(LINK, clicks(1))
    next(streams[1])  # and it is never asked for more
    hub.end()
    assert (reading.aborted, stuck.aborted) == (False, True)
    assert not list(streams[0])
    with pytest.raises(Unavailable):
        opened(hub)


def test_watcher_waits_until_its_clicks_arrive(hub: LiveHub) -> None:
    first = opened(hub)
    assert not first.confirmed.is_set()
    hub.confirm(LINK)
    assert first.confirmed.is_set()
    second = opened(hub)
    assert second.confirmed.is_set()
    assert not hub.release([LINK])
    first.close()
    second.close()
    assert hub.release([LINK]) == [LINK]
    assert not opened(hub).confirmed.is_set()


def test_message_says_what_may_be_known() -> None:
    told = read_message(write_message([make_click(visitor=77, address="8.8.8.0", country="DE")]))
    assert told is not None
    assert (told.clicks[0]["country"], told.skipped) == ("DE", 0)
    assert not {"visitor", "address", "workspace_id", "id"} & set(told.clicks[0])


@pytest.mark.parametrize("data", [b"", b"7", b"{}", b'{"clicks": 1, "skipped": 0}', b"\xff"])
def test_what_is_no_message_is_none(data: bytes) -> None:
    assert read_message(data) is None


def test_channels_are_read_as_they_are_written() -> None:
    for subject in (Subject(7), LINK):
        assert subject_of(channel_of(subject)) == subject
    for foreign in ("signpost:{live}:v1:", "signpost:{live}:v1:1:2:3", "signpost:{live}:v2:1", "x"):
        assert subject_of(foreign) is None
