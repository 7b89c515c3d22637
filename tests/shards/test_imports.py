"""An import over several shards: each link on its own, each made once."""

from __future__ import annotations

from typing import Any

import pytest

from api.jobs.importing import make_loader
from api.links import arrival_store
from tests.shards.conftest import Shards
from tests.transfers.imports.importer import Importer, NoJobs, counts

COUNTED = "SELECT count(*) FROM links WHERE workspace_id = :workspace"
ROWS = [
    {"url": f"https://example.com/{n}", "slug": f"s-{n}", "tags": ["t"], "clicks": n}
    for n in range(300)
]


@pytest.fixture
def importer(shards: Shards) -> Importer:
    jobs = NoJobs()
    loader = make_loader(shards.settings, shards.db, jobs)  # type: ignore[arg-type]
    return Importer(shards.caller(), loader, jobs)


def kept(shards: Shards, importer: Importer) -> list[int]:
    workspace = importer.caller.workspace_id
    return [shards.count(name, COUNTED, workspace=workspace) for name in ("main", "second")]


def test_rows_become_links_of_both_shards(shards: Shards, importer: Importer) -> None:
    done = importer.run(ROWS)
    assert counts(done) == {"created": 300}
    main, second = kept(shards, importer)
    assert main > 100 and second > 100 and main + second == 300
    told = importer.outcomes(done)
    assert [row["slug"] for row in told] == [row["slug"] for row in ROWS]
    for row in told[::29]:
        link = importer.caller.get(f"/links/{row['id']}").json or {}
        assert (link["slug"], link["clicks"]) == (row["slug"], row["row"] - 1)
    changed = [{"url": "https://example.com/new", "slug": row["slug"]} for row in ROWS]
    assert counts(importer.run(changed, "conflict=overwrite")) == {"overwritten": 300}
    assert counts(importer.run(changed)) == {"failed": 300}
    assert kept(shards, importer) == [main, second]


def test_worker_that_is_killed_between_two_shards_doubles_nothing(
    shards: Shards, importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"url": row["url"]} for row in ROWS]  # with slugs that are generated
    identifier = (importer.send(rows).json or {})["id"]
    copy, calls = arrival_store.copy_links, []

    def killed_at_the_second(*arguments: Any) -> set[int]:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return copy(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(arrival_store, "copy_links", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            importer.loader.load(int(identifier))
    assert sorted(kept(shards, importer))[0] == 0 < sum(kept(shards, importer)) < 300
    with shards.db.write_directory() as session:
        session.connection().exec_driver_sql("UPDATE imports SET worker_until = now()")
    assert importer.loader.load(int(identifier)) == "all"
    assert counts(importer.get(identifier)) == {"created": 300}
    assert sum(kept(shards, importer)) == 300
