"""The page as people see it: in a browser, on a desk and on a phone, by day and by night."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import METRICS_TOKEN
from tests.services import chromium
from tests.services.chromium import Chromium, Page
from tests.status.hours import busy_hour, fill, serving

WINDOWS = {
    "desk": {"width": 1280, "height": 900},
    "desk by night": {"width": 1280, "height": 900, "dark": True},
    "phone": {"width": 360, "height": 740, "phone": True},
    "phone by night": {"width": 360, "height": 740, "phone": True, "dark": True},
}
FIGURES = ("redirects redirect-time calls call-time clicks click-delay spool workers loop").split()

# Where everything is, what sticks out to the right, and what a reader would be read.
_LOOK = """(() => {
  const place = it => { const box = it.getBoundingClientRect();
    return [box.left + scrollX, box.top + scrollY, box.width, box.height]; };
  const shown = [...document.querySelectorAll("main *")].filter(it =>
    !it.closest("details") && it.getBoundingClientRect().width > 0);
  const figures = [...document.querySelectorAll("figure")];
  return {
    title: document.title,
    heading: document.querySelector("h1").textContent,
    dependencies: [...document.querySelectorAll(".dependencies li")].map(it => it.innerText),
    figures: figures.map(it => it.id),
    pictures: Object.fromEntries(figures.map(it => [it.id, place(it.querySelector("svg"))])),
    names: figures.map(it => it.querySelector("svg title").textContent),
    texts: figures.map(it => it.querySelector("svg desc").textContent),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    outside: shown.filter(it => it.getBoundingClientRect().right > innerWidth + 1)
                  .map(it => it.outerHTML.slice(0, 80)),
    small: shown.filter(it => !it.closest("svg") && it.innerText && !it.children.length &&
                              parseFloat(getComputedStyle(it).fontSize) < 12)
                .map(it => it.innerText),
    background: getComputedStyle(document.body).backgroundColor,
    columns: new Set(figures.map(it => it.getBoundingClientRect().left)).size,
  };
})()"""
# How many colours there are in each place, and how much of it is not its ground.
_COLOURS = """(async () => {
  const image = new Image();
  image.src = "data:image/png;base64,%s";
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const drawing = canvas.getContext("2d");
  drawing.drawImage(image, 0, 0);
  return Object.fromEntries(Object.entries(%s).map(([name, place]) => {
    const data = new Uint32Array(drawing.getImageData(...place.map(Math.round)).data.buffer);
    const counts = new Map();
    for (const colour of data) counts.set(colour, (counts.get(colour) || 0) + 1);
    return [name, [counts.size, 1 - Math.max(...counts.values()) / data.length]];
  }));
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not chromium.available():
        pytest.skip(chromium.ABSENT)
    with chromium.running(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[str]:
    """A server that has an hour to show."""
    home = tmp_path_factory.mktemp("home")
    fill(home, busy_hour)
    with serving(home, DATABASE_URL=database_url) as url:
        yield url


@pytest.mark.parametrize(
    "window",
    [
        "desk",
        pytest.param("desk by night", marks=pytest.mark.slow),
        pytest.param("phone", marks=pytest.mark.slow),
        "phone by night",
    ],
)
def test_page_can_be_read(browser: Chromium, address: str, window: str, tmp_path: Path) -> None:
    page = Page(browser, password=METRICS_TOKEN, **WINDOWS[window])
    page.open(address)
    seen = page.ask(_LOOK)
    png = page.picture()
    (tmp_path / "page.png").write_bytes(png)
    requests, complaints = page.requests, page.complaints
    page.close()

    assert seen["title"] == "All is well · Signpost"
    assert seen["heading"] == "All is well"
    assert [it.split()[0] for it in seen["dependencies"]] == ["database", "spool", "disk", "redis"]
    assert seen["figures"] == FIGURES
    assert all(seen["names"]) and all("in the last hour" in text for text in seen["texts"])
    assert (seen["wide"], seen["outside"], seen["small"]) == (0, [], [])
    assert seen["columns"] == (1 if "phone" in window else 3)
    dark = sum(map(int, seen["background"][4:-1].split(","))) < 200
    assert dark == ("night" in window)

    # Nothing comes from elsewhere, and nothing is refused or complained about.
    assert requests == [address, f"{address.removesuffix('/status')}/favicon.ico"]
    assert complaints == []
    # And there is something in each picture.
    for name, (colours, drawn) in colours_of(browser, png, seen["pictures"]).items():
        assert colours > 8, name
        assert 0.02 < drawn < 0.9, name


def test_a_blank_picture_would_be_noticed(browser: Chromium, address: str) -> None:
    page = Page(browser, password=METRICS_TOKEN, **WINDOWS["desk"])
    page.open(address)
    page.ask("document.querySelectorAll('figure svg > *').forEach(it => it.remove())")
    seen = page.ask(_LOOK.replace("svg title", "h3").replace("svg desc", "h3"))
    found = colours_of(browser, page.picture(), seen["pictures"])
    page.close()
    assert {colours for colours, _ in found.values()} == {1}


def test_without_the_password_nothing_is_shown(browser: Chromium, address: str) -> None:
    page = Page(browser, **WINDOWS["desk"])
    page.open(address)
    assert "Redirects" not in page.ask("document.body.innerText")
    page.close()


def test_the_table_scrolls_within_itself(browser: Chromium, address: str) -> None:
    page = Page(browser, password=METRICS_TOKEN, **WINDOWS["phone"])
    page.open(address)
    page.ask("document.querySelector('details').open = true")
    seen = page.ask("""({
      rows: document.querySelectorAll("tbody tr").length,
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      scrolls: document.querySelector(".scroll").scrollWidth > innerWidth,
    })""")
    page.close()
    assert seen == {"rows": 60, "wide": 0, "scrolls": True}


def colours_of(browser: Chromium, png: bytes, places: dict[str, list[float]]) -> dict[str, Any]:
    """What is in these places of a picture."""
    blank = Page(browser, width=100, height=100)
    found: dict[str, Any] = blank.ask(_COLOURS % (base64.b64encode(png).decode(), places))
    blank.close()
    return found
