"""The scripts by which an operator makes users, and what the audit log tells of operators."""

from __future__ import annotations

import getpass
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.principal import ROLES, Principal
from api.identity.bootstrap import bootstrap
from api.identity.users import SignInRefused, UserService
from api.services import People, people_services
from config.settings import Settings
from tests.conftest import migrated_database
from tests.scripting import run_script

ROOT = Path(__file__).resolve().parents[2]
EMAIL, PASSWORD = "ann@example.com", "seven quiet ferries at noon"


class Installation:
    """A migrated database of its own, and the scripts that are run on it."""

    def __init__(self, url: str, home: Path) -> None:
        self.environ = {
            "DATABASE_URL": url,
            "REDIS_URL": "",
            "SIGNPOST_HOME": str(home),
            "SECRET_KEY": "a secret of the tests only",
        }
        settings = Settings.load(self.environ)
        bootstrap(settings)
        self.db = Database(settings)
        audit = AuditLog(self.db, settings.resolved_secret_key())
        self.people: People = people_services(settings, self.db, audit)

    @property
    def users(self) -> UserService:
        return self.people.users

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        script, *rest = arguments
        return run_script(script, *rest, env=os.environ | self.environ, given=given)

    def json(self, *arguments: str, given: str = "") -> dict[str, Any]:
        """What a script prints, which must succeed."""
        done = self.run(*arguments, "--json", given=given)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def make_user(self, *options: str) -> dict[str, Any]:
        arguments = ("create-user", "--email", EMAIL, "--password-stdin", *options)
        return self.json(*arguments, given=f"{PASSWORD}\n")

    def events(self) -> list[Any]:
        with self.db.read_directory() as session:
            return list(session.execute(text("SELECT * FROM audit_events ORDER BY id")).all())


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with migrated_database() as url:
        there = Installation(url, tmp_path)
        yield there
        there.db.dispose()


def test_user_is_made_with_a_password_from_standard_input(installation: Installation) -> None:
    made = installation.make_user("--name", "Ann", "--role", "editor")
    oldest = installation.people.identity.oldest_workspace().id
    assert made.pop("id").isdigit()
    assert made == {
        "email": EMAIL,
        "workspace_id": str(oldest),
        "role": "editor",
        "created": True,
    }
    user = installation.users.sign_in(EMAIL, PASSWORD, "127.0.0.1")
    assert user.name == "Ann"
    assert installation.people.members.find_memberships(user.id) == [(oldest, "Default", "editor")]


def test_password_is_asked_for_without_being_shown(installation: Installation) -> None:
    terminal, other_end = pty.openpty()
    command = [sys.executable, ROOT / "scripts" / "create-user", "--email", EMAIL]
    with subprocess.Popen(
        command,
        env=os.environ | installation.environ,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
    ) as process:
        os.close(other_end)
        shown = b""
        for question in (b"Password", b"epeat for confirmation"):
            while question not in shown:
                shown += os.read(terminal, 4096)
            os.write(terminal, PASSWORD.encode() + b"\n")
        while b"is owner of workspace" not in shown:
            shown += os.read(terminal, 4096)
        assert process.wait(30) == 0
    os.close(terminal)
    assert PASSWORD.encode() not in shown
    installation.users.sign_in(EMAIL, PASSWORD, "127.0.0.1")


def test_password_is_never_an_argument(installation: Installation) -> None:
    done = installation.run("create-user", "--email", EMAIL)
    assert done.returncode == 2
    assert "--password-stdin" in done.stderr
    done = installation.run("create-user", "--email", EMAIL, "--password", PASSWORD)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("options", "given", "wrong"),
    [
        (("--email", EMAIL), "short\n", "/password"),
        (("--email", "no address"), PASSWORD, "/email"),
        (("--email", EMAIL, "--workspace", "1"), PASSWORD, "no such workspace"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(
    installation: Installation, options: tuple[str, ...], given: str, wrong: str
) -> None:
    done = installation.run("create-user", "--password-stdin", *options, given=given)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert wrong in done.stderr
    assert installation.json("users", "list") == {"data": []}


def test_dry_run_makes_nothing(installation: Installation) -> None:
    done = installation.run("create-user", "--email", EMAIL, "--dry-run")
    assert done.stdout.startswith("Would make a user")
    assert installation.json("users", "list") == {"data": []}


def test_user_who_is_there_becomes_a_member_of_another_workspace(
    installation: Installation,
) -> None:
    made = installation.make_user()
    second = installation.people.identity.create_workspace("Second").id
    again = installation.json(
        "create-user", "--email", EMAIL, "--workspace", str(second), "--role", "viewer"
    )
    assert again == {
        "id": made["id"],
        "email": EMAIL,
        "workspace_id": str(second),
        "role": "viewer",
        "created": False,
    }
    assert len(installation.people.members.find_memberships(int(made["id"]))) == 2


def test_users_are_disabled_and_enabled(installation: Installation) -> None:
    installation.make_user()
    key = installation.json("create-key", "--user", EMAIL)["key"]
    assert installation.people.identity.authenticate(key).user_id is not None
    assert "Would change" in installation.run("users", "disable", EMAIL, "--dry-run").stdout
    installation.users.sign_in(EMAIL, PASSWORD, "127.0.0.1")
    assert installation.json("users", "disable", EMAIL)["disabled_at"] is not None
    with pytest.raises(SignInRefused):
        installation.users.sign_in(EMAIL, PASSWORD, "127.0.0.1")
    assert "disabled" in installation.run("users", "list").stdout
    assert installation.json("users", "enable", EMAIL)["disabled_at"] is None
    installation.users.sign_in(EMAIL, PASSWORD, "127.0.0.1")


def test_forgotten_password_is_replaced(installation: Installation) -> None:
    installation.make_user()
    other = "nine slow trams before dawn"
    installation.json("users", "set-password", EMAIL, "--password-stdin", given=other)
    installation.users.sign_in(EMAIL, other, "127.0.0.1")
    with pytest.raises(SignInRefused):
        installation.users.sign_in(EMAIL, PASSWORD, "127.0.0.1")


def test_key_of_a_user_needs_a_member(installation: Installation) -> None:
    done = installation.run("create-key", "--user", EMAIL)
    assert done.returncode == 1
    assert "no such user" in done.stderr
    installation.make_user("--role", "viewer")
    second = installation.people.identity.create_workspace("Second").id
    done = installation.run("create-key", "--user", EMAIL, "--workspace", str(second))
    assert "no such member" in done.stderr
    key = installation.json("create-key", "--user", EMAIL)["key"]
    assert installation.people.identity.authenticate(key).scopes == {"links:read", "stats:read"}


def test_what_operators_do_is_in_the_audit_log(installation: Installation) -> None:
    user = installation.make_user()["id"]
    key = installation.json("create-key", "--scope", "links:read")["id"]
    installation.json("users", "disable", EMAIL)
    workspace = installation.people.identity.oldest_workspace().id
    told = [
        (it.action, it.workspace_id, it.target_kind, it.details) for it in installation.events()
    ]
    assert told == [
        ("workspace.create", workspace, "workspace", {"name": "Default"}),
        ("key.create", workspace, "key", {"name": "First key"}),
        ("user.create", workspace, "user", {"role": "owner"}),
        (
            "key.create",
            workspace,
            "key",
            {"name": "Made by scripts/create-key", "scopes": ["links:read"]},
        ),
        ("user.disable", None, "user", {}),
    ]
    assert [it.target_id for it in installation.events()[2:]] == [user, key, user]
    for event in installation.events():
        assert (event.actor_kind, event.actor_id) == ("operator", None)
        assert event.actor_name == (os.environ.get("SUDO_USER") or getpass.getuser())
        assert event.address is event.request_id is None


def test_operator_reads_the_log_of_the_installation(installation: Installation) -> None:
    with pytest.raises(SignInRefused):
        installation.users.sign_in("nobody@example.com", PASSWORD, "203.0.113.7")
    done = installation.run("audit-events", "--json")
    told = [json.loads(line)["action"] for line in done.stdout.splitlines()]
    assert told == ["user.sign_in_refused", "key.create", "workspace.create"]
    assert len(installation.run("audit-events", "--limit", "2").stdout.splitlines()) == 2
    (line,) = installation.run("audit-events", "--installation").stdout.splitlines()
    assert "nobody: user.sign_in_refused from 203.0.113.7" in line
    assert installation.run("audit-events", "--before", "2026-01-02").stdout == ""
    assert installation.run("audit-events", "--after", "2200-01-02").stdout == ""


def test_change_that_the_log_does_not_know_is_told_to_the_operator(
    installation: Installation,
) -> None:
    with installation.db.write_directory() as session:
        session.execute(text("ALTER TABLE audit_events RENAME TO elsewhere"))
    done = installation.run("create-key", "--json")
    assert done.returncode == 0
    key = json.loads(done.stdout)
    assert "an audit event was not written" in done.stderr
    assert key["id"] in done.stderr
    assert key["key"] not in done.stderr


def test_user_who_came_by_an_invitation_is_vouched_for_before_anything_else(
    installation: Installation,
) -> None:
    people = installation.people
    workspace = people.identity.oldest_workspace().id
    owner = Principal(workspace, 0, ROLES["owner"])
    _, token = people.invitations.create_invitation(
        workspace, email=EMAIL, role="viewer", expires_at=None, invited_by=owner
    )
    people.invitations.accept_invitation(
        token, name="Somebody", password=PASSWORD, address="192.0.2.1"
    )
    second = people.identity.create_workspace("Second").id
    arguments = ("--email", EMAIL, "--workspace", str(second))
    refused = installation.run("create-user", *arguments)
    assert refused.returncode == 1
    assert "scripts/users vouch" in refused.stderr
    assert installation.json("users", "list")["data"][0]["invited"] is True
    assert installation.json("users", "vouch", EMAIL)["invited"] is False
    assert installation.json("create-user", *arguments)["created"] is False
