from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.clicks.enriched import EnrichedClick
from api.clicks.enrichment.addresses import block_of, packed_address
from api.clicks.enrichment.countries import Countries
from api.clicks.enrichment.enricher import Enricher
from api.clicks.enrichment.origins import Campaign, campaign, preferred_language, referrer_host
from api.clicks.enrichment.user_agents import AgentParser
from api.clicks.enrichment.visitors import VisitorHash
from api.clicks.records import FLAG_HEAD, FLAG_PREFETCH, Segment
from tests.factories.clicks import CHROME, a_click, now_ms

_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)"


@pytest.fixture(scope="module")
def enricher() -> Enricher:
    return Enricher(b"a secret of the installation")


@pytest.fixture(scope="module")
def agents() -> AgentParser:
    return AgentParser()


@pytest.fixture(scope="module")
def countries() -> Countries:
    return Countries()


def _enriched(enricher: Enricher, created_ms: int | None = None, **changes: Any) -> EnrichedClick:
    record = a_click(1 << 40, **changes)
    segment = Segment("s", created_ms or now_ms(), [record], torn=False)
    (click,) = enricher.enrich(segment)
    return click


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (CHROME, ("Chrome", "Windows", "desktop", False)),
        (f"{CHROME} Edg/131.0.0.0", ("Edge", "Windows", "desktop", False)),
        (f"{CHROME} OPR/115.0.0.0", ("Opera", "Windows", "desktop", False)),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
            ("Firefox", "Linux", "desktop", False),
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko",
            ("IE", "Windows", "desktop", False),
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Version/18.1 "
            "Safari/605.1.15",
            ("Safari", "macOS", "desktop", False),
        ),
        (
            f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_BLINK} Chrome/131.0.0.0 Safari/537.36",
            ("Chrome", "Chrome OS", "desktop", False),
        ),
        (
            f"{_IPHONE} {_APPLE} Version/18.1 Mobile/15E148 Safari/604.1",
            ("Safari", "iOS", "mobile", False),
        ),
        (
            f"{_IPHONE} {_APPLE} CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1",
            ("Chrome", "iOS", "mobile", False),
        ),
        (
            f"{_IPHONE} {_APPLE} FxiOS/132.0 Mobile/15E148 Safari/605.1.15",
            ("Firefox", "iOS", "mobile", False),
        ),
        (
            f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {_APPLE} Version/16.6 Mobile/15E148 "
            "Safari/604.1",
            ("Safari", "iOS", "tablet", False),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 10; K) {_BLINK} Chrome/131.0.0.0 Mobile Safari/537.36",
            ("Chrome", "Android", "mobile", False),
        ),
        (
            "Mozilla/5.0 (Android 14; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0",
            ("Firefox", "Android", "mobile", False),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-X710) {_BLINK} Chrome/131.0.0.0 Safari/537.36",
            ("Chrome", "Android", "tablet", False),
        ),
        (
            f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {_BLINK} SamsungBrowser/4.0 "
            "Chrome/76.0.3809.146 TV Safari/537.36",
            ("Samsung Internet", "Tizen", "tv", False),
        ),
        (
            f"Mozilla/5.0 (PlayStation; PlayStation 5/6.50) {_APPLE} Version/13.0 Safari/605.1.15",
            ("Safari", "", "other", False),
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            ("Googlebot", "", "bot", True),
        ),
        (
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            ("Slackbot-LinkExpanding", "", "bot", True),
        ),
        (
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            ("FacebookBot", "", "bot", True),
        ),
        ("WhatsApp/2.23.20.0", ("WhatsApp", "", "bot", True)),
        ("curl/8.5.0", ("curl", "", "bot", True)),
        ("python-requests/2.32", ("Python Requests", "", "bot", True)),
        ("", ("", "", "bot", True)),
        (" \0 ", ("", "", "bot", True)),
        ("something unheard of", ("", "", "other", False)),
    ],
)
def test_user_agents(agents: AgentParser, user_agent: str, expected: tuple[Any, ...]) -> None:
    assert agents.parse(user_agent) == expected


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("8.8.8.8", "US"),
        ("::ffff:8.8.8.8", "US"),
        ("193.0.6.139", "NL"),
        ("200.160.2.3", "BR"),
        ("2001:4860:4860::8888", "US"),
        ("10.1.2.3", ""),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("2001:db8::1", ""),
        ("224.0.0.1", ""),
        ("fe80::1%eth0", ""),
    ],
)
def test_countries(countries: Countries, address: str, country: str) -> None:
    packed = packed_address(address)

    assert packed is not None
    assert countries.country_of(block_of(packed)) == country


@pytest.mark.parametrize("text", ["", "8.8.8", "134744072", "8.8.8.8:80", "x", "\0", "1.2.3.4 "])
def test_what_is_no_address(text: str) -> None:
    assert packed_address(text) is None


def test_without_data_every_country_is_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Countries(tmp_path / "missing.dat.gz")

    assert broken.country_of(b"\x08\x08\x08") == ""
    assert broken.country_of(b"\x08\x08\x09") == ""
    assert len(caplog.records) == 1


def test_loading_countries_leaves_the_environment_alone(countries: Countries) -> None:
    assert "PYTHONWARNINGS" not in os.environ or os.environ["PYTHONWARNINGS"] != "ignore"


@pytest.mark.parametrize(
    ("referrer", "host"),
    [
        ("https://www.Example.ORG/path?q=1", "example.org"),
        ("http://user:secret@news.example:8080/", "news.example"),
        ("android-app://com.google.android.gm/", "com.google.android.gm"),
        ("https://münchen.example/", "xn--mnchen-3ya.example"),
        ("https://mÃ¼nchen.example/", "xn--mnchen-3ya.example"),
        ("https://[2001:db8::1]/", "[2001:db8::1]"),
        ("https://example.org./", "example.org"),
        ("about:blank", ""),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        ("https://[", ""),
        ("no url", ""),
        ("", ""),
    ],
)
def test_referrers(referrer: str, host: str) -> None:
    assert referrer_host(referrer) == host


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("pt-BR", "pt"),
        ("en;q=0.5, fr;q=0.8", "fr"),
        ("en;q=0, *", ""),
        ("*;q=0.5, zh-Hant-TW;q=0.3", "zh"),
        ("DE", "de"),
        ("en; q=0.7, es ;q=0.9", "es"),
        ("x-klingon", ""),
        ("de;q=nonsense,fr;q=0.1", "fr"),
        ("", ""),
    ],
)
def test_languages(header: str, language: str) -> None:
    assert preferred_language(header) == language


def test_campaign_fields_are_decoded_and_bounded() -> None:
    found = campaign(
        "x=1&utm_source=%C3%BCber+uns&UTM_Medium=mail&utm_source=second&utm_campaign="
        + "a" * 999
        + "&utm_term=%00%ed%a0%80x&utm_content=u%CC%88"
    )

    assert found == Campaign("über uns", "mail", "a" * 200, "\ufffd\ufffd\ufffdx", "ü")
    assert campaign("a=b") == campaign("") == Campaign()


def test_visitors_differ_by_address_browser_day_and_secret() -> None:
    one, other = VisitorHash(b"one"), VisitorHash(b"other")

    numbers = {
        one.visitor(1, b"a", "x"),
        one.visitor(1, b"b", "x"),
        one.visitor(1, b"a", "y"),
        one.visitor(2, b"a", "x"),
        other.visitor(1, b"a", "x"),
    }

    assert len(numbers) == 5
    assert one.visitor(1, b"a", "x") == VisitorHash(b"one").visitor(1, b"a", "x")
    assert all(-(1 << 63) <= number < 1 << 63 for number in numbers)


def test_an_address_is_one_visitor_however_it_is_written(enricher: Enricher) -> None:
    plain = _enriched(enricher, address="8.8.8.8")
    mapped = _enriched(enricher, address="::ffff:8.8.8.8")

    assert plain.visitor == mapped.visitor


@pytest.mark.parametrize("flags", [FLAG_HEAD, FLAG_PREFETCH])
def test_a_browser_that_only_looks_ahead_is_a_bot(enricher: Enricher, flags: int) -> None:
    click = _enriched(enricher, flags=flags)

    assert (click.bot, click.browser, click.device) == (True, "Chrome", "desktop")


def test_the_address_is_kept_only_where_the_setting_asks() -> None:
    keeping = Enricher(b"a secret", keep_address=True)

    assert _enriched(keeping, address="93.184.216.34").address == "93.184.216.0"
    assert _enriched(keeping, address="2a00:1450:4001:81b::200e").address == "2a00:1450:4001::"
    assert _enriched(keeping, address="nonsense").address is None
    assert _enriched(Enricher(b"a secret")).address is None


def test_a_wrong_clock_is_corrected(enricher: Enricher) -> None:
    created = now_ms() - 1000
    moment = datetime.fromtimestamp(created / 1000, UTC)

    assert _enriched(enricher, created, at_ms=created + 3_600_000).clicked_at == moment
    assert _enriched(enricher, created, at_ms=5).clicked_at == moment
    assert _enriched(enricher, created, at_ms=created - 5000).clicked_at < moment
    assert abs(_enriched(enricher, 5, at_ms=5).clicked_at.timestamp() - created / 1000) < 60


def test_ids_follow_from_the_segment(enricher: Enricher) -> None:
    segment = Segment("some segment", now_ms(), [a_click(1), a_click(1)], torn=False)

    first, again = enricher.enrich(segment), enricher.enrich(segment)

    assert [click.id for click in first] == [click.id for click in again]
    assert len({click.id for click in first}) == 2


any_text = st.text(st.characters(codec=None), max_size=80)


@given(any_text, any_text, any_text, any_text, any_text)
def test_nothing_that_a_client_sends_breaks_it(
    enricher: Enricher, address: str, user_agent: str, referrer: str, language: str, query: str
) -> None:
    click = _enriched(
        enricher,
        address=address,
        user_agent=user_agent,
        referrer=f"https://{referrer}",
        language=language,
        query=f"utm_source={query}&utm_term={referrer}&{query}",
    )

    for value in click:
        if isinstance(value, str):
            value.encode()  # no lone surrogate
            assert not set(value) & set("\0\t\n\r")
            assert len(value) <= 253
