"""What any text may do as a slug."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.routing import Map, Rule

from api.core.errors import Invalid
from api.core.paths import SlugConverter
from api.core.slugs import (
    ALPHABET,
    RESERVED,
    check_custom_slug,
    generate_slug,
    is_reserved,
    may_be_slug,
    normalise_slug,
)

ROOT = Path(__file__).resolve().parents[2]
PATHS = Map(
    [Rule("/<slug:slug>", endpoint="follow")],
    converters={"slug": SlugConverter},
    merge_slashes=False,
).bind("sign.test")
WORDS = st.text(st.characters(categories=["L", "M", "N"]) | st.sampled_from("-_./"), max_size=12)


@settings(max_examples=300)
@given(st.text(max_size=12) | WORDS, st.booleans())
def test_accepted_slug_is_in_one_form_and_reachable(text: str, multi_segment: bool) -> None:
    try:
        slug = check_custom_slug(text, multi_segment=multi_segment)
    except Invalid:
        return
    assert check_custom_slug(slug, multi_segment=multi_segment) == slug
    assert unicodedata.is_normalized("NFC", slug)
    assert may_be_slug(slug)
    kinds = {unicodedata.category(character)[0] for character in set(slug) - set("-_./")}
    assert kinds <= set("LMN")
    for form in ("NFC", "NFD"):
        path = unquote(quote(unicodedata.normalize(form, slug)))
        endpoint, arguments = PATHS.match("/" + path)
        assert endpoint == "follow"
        assert normalise_slug(arguments["slug"]) == slug


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_reserved_words_are_neither_accepted_nor_routed(word: str) -> None:
    for text in (word, word.upper(), word.title(), f"{word}/more"):
        assert is_reserved(text)
        with pytest.raises(Invalid):
            check_custom_slug(text, multi_segment=True)
        assert not PATHS.test("/" + text)


def test_words_that_only_begin_like_reserved_ones_are_fine() -> None:
    for word in ("apis", "api-v2", "docs.html", "my/api"):
        assert check_custom_slug(word, multi_segment=True) == word
        assert PATHS.test("/" + word)


@given(st.integers(4, 32))
def test_generated_slugs_are_acceptable(length: int) -> None:
    slug = generate_slug(length)
    assert len(slug) == length
    assert set(slug) <= set(ALPHABET)
    assert check_custom_slug(slug, multi_segment=False) == slug


def test_forked_processes_make_different_slugs() -> None:
    command = (
        "import os\n"
        "from api.core.slugs import generate_slug\n"
        "generate_slug(7)\n"  # what is left over, both have
        "child = os.fork()\n"
        "os.write(1, generate_slug(7).encode() + b'\\n')\n"
        "child and os.waitpid(child, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.split()
    assert first != second
