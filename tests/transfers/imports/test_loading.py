"""What becomes of rows: links as the API would make them, and as they were elsewhere."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.links import arrival_store
from api.transfers.imports import loading
from tests.redirects.visitor import Visitor
from tests.running import wait_until
from tests.transfers.imports.importer import Importer, counts


def name() -> str:
    return f"n{secrets.token_hex(6)}"


def test_links_are_what_their_rows_say(importer: Importer) -> None:
    slug = name()
    done = importer.run(
        [
            {
                "url": "https://example.com/ä?b=1",
                "slug": slug,
                "title": 'A "title"\twith \\ and\nmore',
                "tags": ["b", "a b", 'q"\\,{}', "b"],
                "starts_at": "2026-01-01T00:00:00Z",
                "expires_at": "2090-01-01T00:00:00+01:00",
                "max_clicks": 500,
                "redirect_status": 308,
                "forward_query": True,
                "state": "disabled",
                "metadata": {"a": [1, "\\N\t"], "b": {"c": None}},
                "created_at": "2026-02-03T04:05:06.789Z",
                "clicks": 42,
                "last_clicked_at": "2026-05-01T00:00:00Z",
            },
            {"url": "https://example.com/plain"},
        ]
    )
    assert counts(done) == {"created": 2}
    assert (done["state"], done["progress"], done["rows"]) == ("finished", 1.0, 2)
    told = {outcome["row"]: outcome for outcome in importer.outcomes(done)}
    link = importer.caller.get(f"/links/{told[1]['id']}").json or {}
    assert link | {"updated_at": None} == {
        "id": told[1]["id"],
        "slug": slug,
        "domain": "sign.test",
        "short_url": f"http://sign.test/{slug}",
        "url": "https://example.com/%C3%A4?b=1",
        "state": "disabled",
        "title": 'A "title"\twith \\ and\nmore',
        "tags": ["b", "a b", 'q"\\,{}'],
        "starts_at": "2026-01-01T00:00:00Z",
        "expires_at": "2089-12-31T23:00:00Z",
        "max_clicks": 500,
        "has_password": False,
        "redirect_status": 308,
        "forward_query": True,
        "metadata": {"a": [1, "\\N\t"], "b": {"c": None}},
        "clicks": 42,
        "created_at": "2026-02-03T04:05:06.789000Z",
        "updated_at": None,
    }
    plain = importer.caller.get(f"/links/{told[2]['id']}").json or {}
    assert plain["url"] == "https://example.com/plain"
    assert len(plain["slug"]) == 7
    assert told[2]["short_url"] == plain["short_url"]
    assert [link["slug"] for link in importer.links("tag=a+b")] == [slug]


def test_redirect_follows_a_link_that_was_unknown_before(importer: Importer) -> None:
    slug, visitor = name(), Visitor(importer.caller.app)
    link = {"short_url": f"http://sign.test/{slug}"}
    assert visitor.follow(link).status_code == 404
    importer.run([{"url": "https://example.com/there", "slug": slug}])
    # Other processes are told, and each hears of it in its own time.
    wait_until(lambda: visitor.follow(link).status_code == 302)
    assert visitor.follow(link).headers["Location"] == "https://example.com/there"


def test_password_is_kept_as_a_hash_and_nowhere_as_it_is(importer: Importer, db: Database) -> None:
    slug = name()
    answer = importer.send([{"url": "https://example.com/", "slug": slug, "password": "open it"}])
    with db.read_directory() as session:
        (staged,) = session.connection().exec_driver_sql(
            "SELECT staged FROM import_chunks WHERE import_id = %s", ((answer.json or {})["id"],)
        )
    text = str(loading.unpack(bytes(staged.staged)))
    assert "argon2id" in text and "open it" not in text
    importer.loader.load(int((answer.json or {})["id"]))
    (link,) = importer.links()
    assert link["has_password"]
    assert Visitor(importer.caller.app).unlock(link, "open it").status_code == 303


@pytest.mark.parametrize("password", [None, "open it"])
def test_link_whose_password_is_not_told_is_opened_to_nobody(
    importer: Importer, password: str | None
) -> None:
    rows = [
        {"url": "https://example.com/", "slug": name(), "state": "active", "has_password": True}
        for _ in range(2)
    ]
    # The second is there already, with or without one.
    importer.caller.create_link(slug=rows[1]["slug"], password=password)
    importer.run(rows, "conflict=overwrite")
    made, kept = [
        next(link for link in importer.links() if link["slug"] == row["slug"]) for row in rows
    ]
    assert (made["state"], made["has_password"]) == ("disabled", False)
    assert kept["has_password"] is (password is not None)
    assert kept["state"] == ("active" if password else "disabled")


def test_row_that_fails_stops_no_other_and_tells_why_and_where(
    importer: Importer, other: Importer
) -> None:
    taken = other.caller.create_link(slug=name())["slug"]
    body = b"\n".join(
        (
            b'{"url": "https://example.com/1"}',
            b"",
            b'{"url": 7, "sl\\"ug": "x"}',
            b"{nothing",
            b'{"url": "javascript:alert(1)"}',
            b'{"url": "https://example.com/", "domain": "nobodys.example"}',
            b'{"url": "https://example.com/", "slug": "%s"}' % taken.encode(),
            b'{"url": "https://example.com/", "slug": "api"}',
            b'{"url": "https://example.com/", "title": "a\\u0000b"}',
            b'["https://example.com/"]',
            b'{"url": "https://example.com/2"}',
        )
    )
    done = importer.run(body, "conflict=skip")
    assert counts(done) == {"created": 2, "failed": 8}
    failed = importer.outcomes(done, "outcome=failed")
    assert [(row["row"], row["line"]) for row in failed] == [(n, n + 1) for n in range(2, 10)]
    problems = [row["problem"] for row in failed]
    assert [problem["type"].rpartition(":")[2] for problem in problems] == [
        "validation-failed",
        "bad-request",
        *["validation-failed"] * 2,
        "slug-taken",
        *["validation-failed"] * 3,
    ]
    assert {error["pointer"] for error in problems[0]["errors"]} == {"/url", '/sl"ug'}
    assert problems[3]["errors"][0]["pointer"] == "/domain"
    assert {link["url"] for link in importer.links()} == {
        "https://example.com/1",
        "https://example.com/2",
    }


@pytest.mark.parametrize(
    ("conflict", "expected"),
    [
        ("fail", {"created": 1, "failed": 3}),
        ("skip", {"created": 1, "exists": 2, "failed": 1}),
        ("overwrite", {"created": 1, "overwritten": 2, "failed": 1}),
    ],
)
@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_conflict_is_settled_as_it_is_asked(
    importer: Importer, other: Importer, conflict: str, expected: dict[str, int], dry_run: str
) -> None:
    mine = importer.caller.create_link(
        slug=name(), title="Before", tags=["old"], metadata={"a": 1}, password="open"
    )
    theirs = other.caller.create_link(slug=name())
    new = name()
    rows = [
        {
            "url": "https://example.com/now",
            "slug": mine["slug"],
            "tags": ["new"],
            "metadata": {"b": 2},
            "clicks": 9,
        },
        {"url": "https://example.com/now", "slug": theirs["slug"]},
        {"url": "https://example.com/first", "slug": new, "title": "First"},
        {"url": "https://example.com/second", "slug": new},
    ]
    done = importer.run(rows, f"conflict={conflict}&dry_run={dry_run}")
    assert counts(done) == expected
    link = importer.caller.get(f"/links/{mine['id']}").json or {}
    fresh = [each for each in importer.links() if each["slug"] == new]
    if dry_run == "true":
        assert link == mine and fresh == []
        return
    if conflict == "overwrite":
        changed = {"url", "tags", "metadata", "clicks"}
        assert link["url"] == "https://example.com/now"
        assert (link["tags"], link["metadata"], link["clicks"]) == (["new"], {"b": 2}, 9)
        assert importer.links("tag=old") == []
    else:
        changed = set()
    assert {key for key in link if link[key] != mine[key]} - {"updated_at"} == changed
    last = "second" if conflict == "overwrite" else "first"
    assert [each["url"] for each in fresh] == [f"https://example.com/{last}"]
    assert fresh[0]["title"] == "First"
    ids = {outcome["id"] for outcome in importer.outcomes(done) if outcome["id"]}
    assert ids == {fresh[0]["id"]} | (set() if conflict == "fail" else {mine["id"]})


def test_fields_that_contradict_those_of_the_link_overwrite_nothing(importer: Importer) -> None:
    link = importer.caller.create_link(slug=name(), starts_at="2026-06-01T00:00:00Z")
    new = name()
    rows = [
        {
            "url": "https://example.com/a",
            "slug": link["slug"],
            "expires_at": "2026-05-01T00:00:00Z",
        },
        {"url": "https://example.com/b", "slug": new, "starts_at": "2026-06-01T00:00:00Z"},
        {"url": "https://example.com/c", "slug": new, "expires_at": "2026-05-01T00:00:00Z"},
    ]
    done = importer.run(rows, "conflict=overwrite")
    told = [(row["outcome"], row["row"]) for row in importer.outcomes(done)]
    assert told == [("failed", 1), ("created", 2), ("failed", 3)]
    urls = {each["slug"]: each["url"] for each in importer.links()}
    assert urls == {link["slug"]: link["url"], new: "https://example.com/b"}


def test_redirect_follows_an_overwritten_link_to_its_new_target(importer: Importer) -> None:
    link, visitor = importer.caller.create_link(slug=name()), Visitor(importer.caller.app)
    assert visitor.follow(link).headers["Location"] == "https://example.com/"
    importer.run([{"url": "https://example.com/new", "slug": link["slug"]}], "conflict=overwrite")
    assert visitor.follow(link).headers["Location"] == "https://example.com/new"


def test_slug_of_a_deleted_link_is_free_where_the_workspace_says_so(importer: Importer) -> None:
    caller = importer.caller
    link = caller.create_link(slug=name())
    caller.delete(f"/links/{link['id']}")
    rows = [{"url": "https://example.com/new", "slug": link["slug"]}]
    assert counts(importer.run(rows, "conflict=overwrite")) == {"failed": 1}
    caller.patch(f"/workspaces/{caller.workspace_id}", {"reuse_deleted_slugs": True})
    assert counts(importer.run(rows)) == {"created": 1}


def test_export_is_imported_as_it_is(importer: Importer, other: Importer) -> None:
    for number in range(3):
        other.caller.create_link(f"https://example.com/{number}", tags=["x"], title="T")
    other.caller.create_link(slug=name(), starts_at="2090-01-01T00:00:00Z")
    other.caller.create_link(slug=name(), expires_at="2026-03-01T00:00:00Z", max_clicks=3)
    exported = other.caller.get("/exports/links").data
    for link in other.links():
        other.caller.delete(f"/links/{link['id']}")
    other.caller.patch(f"/workspaces/{other.caller.workspace_id}", {"reuse_deleted_slugs": True})
    assert counts(other.run(exported)) == {"created": 5}
    again = other.caller.get("/exports/links").data

    def rows(text: bytes) -> list[Any]:
        import json

        found = [json.loads(line) for line in text.splitlines()]
        kept = [row for row in found if "end" not in row]
        return sorted(
            ({k: v for k, v in row.items() if k not in ("id", "updated_at")} for row in kept),
            key=lambda row: row["slug"],
        )

    assert rows(again) == rows(exported)
    assert len(rows(again)) == 5
    assert rows(exported) != []


def test_csv_is_read_as_the_same_rows(importer: Importer) -> None:
    body = (
        "url,slug,tags,metadata,forward_query,max_clicks,title,created_at\r\n"
        'https://example.com/1,,"a, b","{""x"": ""y,z""}",TRUE,5,"two\nlines",\r\n'
        '"https://example.com/2",,"[""c,d""]",,false,,,2026-03-01T00:00:00Z\r\n'
        "https://example.com/3,,,nothing,maybe,x,,\r\n"
        "https://example.com/4,,\r\n"
        "#end,,,,,,,\r\n"
    )
    done = importer.run(b"\xef\xbb\xbf" + body.encode(), Content_Type="text/csv; charset=utf-8")
    assert counts(done) == {"created": 2, "failed": 2}
    links = {link["url"][-1]: link for link in importer.links()}
    assert links["1"]["tags"] == ["a", "b"]
    assert links["1"]["metadata"] == {"x": "y,z"}
    assert (links["1"]["forward_query"], links["1"]["max_clicks"]) == (True, 5)
    assert links["1"]["title"] == "two\nlines"
    assert links["2"]["tags"] == ["c,d"]
    failed = importer.outcomes(done, "outcome=failed")
    assert [row["line"] for row in failed] == [5, 6]
    assert {error["pointer"] for error in failed[0]["problem"]["errors"]} == {
        "/metadata",
        "/forward_query",
        "/max_clicks",
    }


def test_chunk_that_is_loaded_again_makes_nothing_twice(
    importer: Importer, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the worker were killed between the links and what it tells of them."""
    slug = name()
    rows = [{"url": f"https://example.com/{number}"} for number in range(20)]
    rows += [{"url": "https://example.com/x", "slug": slug} for _ in range(2)]
    identifier = (importer.send(rows, "conflict=overwrite").json or {})["id"]

    def killed(*_: Any, **__: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loading.store, "update_loaded", killed)
        with pytest.raises(KeyboardInterrupt):
            importer.loader.load(int(identifier))
    made = importer.links()
    assert len(made) == 21
    assert importer.get(identifier)["state"] == "running"
    assert importer.loader.load(int(identifier)) == "nothing to do"  # somebody may be at it
    with db.write_directory() as session:
        session.connection().exec_driver_sql("UPDATE imports SET worker_until = now()")
    assert importer.loader.load(int(identifier)) == "all"
    assert counts(importer.get(identifier)) == {"created": 21, "overwritten": 1}
    assert {link["id"] for link in importer.links()} == {link["id"] for link in made}


def test_database_that_is_away_is_waited_for(
    importer: Importer, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"url": f"https://example.com/{number}"} for number in range(5)]
    identifier = (importer.send(rows).json or {})["id"]
    write = arrival_store.copy_links

    def away(*arguments: Any) -> set[int]:
        made = write(*arguments)
        if made:
            raise Unavailable("Gone in the middle.")
        return made

    monkeypatch.setattr(arrival_store, "copy_links", away)
    for _ in range(12):
        with pytest.raises(Unavailable):
            importer.loader.load(int(identifier))
        assert importer.get(identifier)["state"] == "running"
    monkeypatch.undo()
    assert importer.loader.load(int(identifier)) == "all"
    assert counts(importer.get(identifier)) == {"created": 5}
    assert len(importer.links()) == 5


def test_import_that_cannot_be_loaded_fails_with_a_problem(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = (importer.send([{"url": "https://example.com/"}]).json or {})["id"]

    def broken(*_: Any) -> set[int]:
        raise ValueError("nobody's fault that anybody knows")

    monkeypatch.setattr(arrival_store, "copy_links", broken)
    assert importer.loader.load(int(identifier)) == "failed"
    failed = importer.get(identifier)
    assert failed["state"] == "failed"
    assert failed["problem"]["type"].endswith("import-failed")
    assert "nobody" not in str(failed)


def test_import_that_nobody_took_is_offered_again(importer: Importer, db: Database) -> None:
    identifier = int((importer.send([{"url": "https://example.com/"}]).json or {})["id"])
    importer.loader.offer_due()
    assert identifier not in importer.jobs.offered
    with db.write_directory() as session:
        session.connection().exec_driver_sql(
            "UPDATE imports SET offered_at = now() - interval '1 minute' WHERE id = %s",
            (identifier,),
        )
    importer.loader.offer_due()
    assert identifier in importer.jobs.offered


def test_links_without_a_date_are_in_the_order_of_their_rows(importer: Importer) -> None:
    urls = [f"https://example.com/{number}" for number in range(150)]
    importer.run([{"url": url} for url in urls])
    listed = [link["url"] for link in importer.links()]
    # Those of a millisecond are in any order.
    assert listed != sorted(listed) or listed == urls
    assert [sorted(listed[at : at + 63]) for at in (0,)] == [sorted(urls[:63])]
