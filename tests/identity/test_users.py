"""Users: how they prove who they are, what they change of themselves, and that guessing is slow."""

from __future__ import annotations

import logging
import statistics
import time
import uuid
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.errors import Invalid, NotFound, TooManyRequests
from api.core.evictions import Evictions
from api.core.limits import AddressLimits, Rule
from api.identity.members import MemberService
from api.identity.passwords import check_password
from api.identity.users import EmailTaken, SignInRefused, UserService
from config.settings import Settings
from tests.answers import problem, wrong_fields
from tests.caller import PASSWORD, Caller

HERE = "203.0.113.7"


@pytest.fixture
def users(app: Flask) -> UserService:
    service: UserService = app.extensions["signpost.services"][UserService]
    return service


def limited(
    db: Database, settings: Settings, *, address: int = 1000, account: int = 1000
) -> UserService:
    """Users who may try only so often, counted in this process."""
    audit = AuditLog(db, settings.resolved_secret_key())
    limits = AddressLimits(None, 1, {"sign-in": Rule(address), "account": Rule(account, 3_600)})
    return UserService(db, Evictions(None, 1), limits, audit)


def new_email() -> str:
    return f"user-{uuid.uuid4().hex[:12]}@example.com"


def events(caller: Caller, action: str) -> list[dict[str, Any]]:
    return list((caller.get(f"/audit-events?action={action}").json or {})["data"])


def test_user_signs_in_with_address_and_password(users: UserService) -> None:
    email = new_email()
    made = users.create_user(email=email.upper(), name="Ann", password=PASSWORD)
    assert made.email == email
    for spelling in (email, email.upper(), f" {email} "):
        assert users.sign_in(spelling, PASSWORD, HERE).id == made.id
    assert users.get_user(made.id).name == "Ann"
    assert users.get_user_by_email(email).id == made.id


def test_password_is_kept_as_argon2id_only(users: UserService, db: Database) -> None:
    made = users.create_user(email=new_email(), name="Ann", password=PASSWORD)
    with db.read_directory() as session:
        row = session.execute(text("SELECT * FROM users WHERE id = :id"), {"id": made.id}).one()
    assert row.password_hash.startswith("$argon2id$v=19$")
    assert PASSWORD not in repr(row)
    assert not hasattr(users.get_user(made.id), "password_hash")


def test_password_is_the_same_on_every_keyboard(users: UserService) -> None:
    made = users.create_user(email=new_email(), name="Ann", password="cafe\u0301 au lait, merci")
    assert users.sign_in(made.email, "café au lait, merci", HERE).id == made.id


def test_wrong_password_unknown_address_and_disabled_user_are_refused_alike(
    users: UserService,
) -> None:
    ann = users.create_user(email=new_email(), name="Ann", password=PASSWORD)
    gone = users.create_user(email=new_email(), name="Bob", password=PASSWORD)
    elsewhere = users.create_user(email=new_email(), name="Cy", password=None)
    users.disable_user(gone.id)
    told = set()
    for email, password in (
        (ann.email, PASSWORD + "x"),
        (ann.email, ""),
        (ann.email, PASSWORD + "x" * 300),
        (gone.email, PASSWORD),
        (elsewhere.email, ""),
        (elsewhere.email, PASSWORD),
        (new_email(), PASSWORD),
        ("no address", PASSWORD),
    ):
        with pytest.raises(SignInRefused) as refused:
            users.sign_in(email, password, HERE)
        told.add((str(refused.value), str(refused.value.extra)))
    assert len(told) == 1


def test_time_does_not_tell_whether_there_is_a_user(users: UserService) -> None:
    known = users.create_user(email=new_email(), name="Ann", password=PASSWORD).email
    took: dict[bool, list[float]] = {True: [], False: []}
    for number in range(24):
        exists = number % 2 == 0
        started = time.process_time()
        with pytest.raises(SignInRefused):
            users.sign_in(known if exists else new_email(), "not the password", HERE)
        took[exists].append(time.process_time() - started)
    fast, slow = sorted(map(statistics.median, took.values()))
    assert slow < 1.5 * fast


def test_sign_ins_are_told_to_the_workspaces_of_the_user(
    caller: Caller, other_caller: Caller, users: UserService, caplog: pytest.LogCaptureFixture
) -> None:
    ann = caller.with_role("viewer", new_email())
    email = users.get_user(ann.user_id).email
    users.sign_in(email, PASSWORD, HERE)
    with caplog.at_level(logging.WARNING, "api.identity"), pytest.raises(SignInRefused):
        users.sign_in(email, "not the password", HERE)
    (event,) = events(caller, "user.sign_in")
    assert event["actor"] == {"kind": "user", "id": str(ann.user_id), "name": email}
    assert event["address"] == HERE
    (event,) = events(caller, "user.sign_in_refused")
    assert event["actor"]["kind"] == "nobody"
    assert event["target"] == {"kind": "user", "id": str(ann.user_id)}
    assert event["details"] == {"reason": "password"}
    assert HERE not in caplog.text
    assert "from 203.0.113.x" in caplog.text
    assert events(other_caller, "user.sign_in") == []


def test_refused_sign_in_of_nobody_is_told_to_the_installation(
    users: UserService, db: Database
) -> None:
    address = f"2001:db8::{uuid.uuid4().hex[:4]}"
    with pytest.raises(SignInRefused):
        users.sign_in(new_email(), PASSWORD, address)
    with db.read_directory() as session:
        (row,) = session.execute(
            text("SELECT * FROM audit_events WHERE address = :it"), {"it": address}
        )
    assert (row.workspace_id, row.action) == (None, "user.sign_in_refused")
    assert row.details == {"reason": "unknown"}


def test_guessing_at_one_account_is_slowed_down_from_anywhere(
    db: Database, settings: Settings, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    users = limited(db, settings, account=3)
    ann = caller.with_role("viewer")
    email = users.get_user(ann.user_id).email
    for number in range(3):
        with pytest.raises(SignInRefused):
            users.sign_in(email, "a guess at it", f"198.51.100.{number}")
    for _ in range(2):
        with (
            caplog.at_level(logging.WARNING, "api.identity"),
            pytest.raises(TooManyRequests) as slow,
        ):
            users.sign_in(email, PASSWORD, "198.51.100.77")
    assert 0 < int(slow.value.headers["Retry-After"]) <= 3600
    assert caplog.text.count("sign-ins from 198.51.100.x are slowed down") == 1
    (event,) = events(caller, "user.sign_in_limited")
    assert event["target"]["id"] == str(ann.user_id)
    assert event["address"] == "198.51.100.77"
    other = caller.with_role("viewer")
    users.sign_in(users.get_user(other.user_id).email, PASSWORD, "198.51.100.77")


def test_guessing_at_many_accounts_from_one_address_is_slowed_down(
    db: Database, settings: Settings
) -> None:
    users = limited(db, settings, address=3)
    for number in range(3):
        with pytest.raises(SignInRefused):
            users.sign_in(new_email(), PASSWORD, f"2001:db8:1:2::{number}")
    with pytest.raises(TooManyRequests):
        users.sign_in(new_email(), PASSWORD, "2001:db8:1:2:ffff::1")
    with pytest.raises(SignInRefused):
        users.sign_in(new_email(), PASSWORD, "2001:db8:1:3::1")


def test_limits_say_the_same_of_accounts_that_do_not_exist(
    db: Database, settings: Settings
) -> None:
    users = limited(db, settings, account=2)
    email = new_email()
    for _ in range(2):
        with pytest.raises(SignInRefused):
            users.sign_in(email, PASSWORD, HERE)
    with pytest.raises(TooManyRequests):
        users.sign_in(email.upper(), PASSWORD, HERE)


def test_redis_is_told_no_addresses_of_people(db: Database, settings: Settings) -> None:
    users = limited(db, settings)
    email = new_email()
    with pytest.raises(SignInRefused):
        users.sign_in(email, PASSWORD, HERE)
    kept = users._limits._local
    assert len(kept) == 2
    assert not any(email in key for key in kept)


def test_address_belongs_to_one_user(users: UserService) -> None:
    email = new_email()
    users.create_user(email=email, name="Ann", password=PASSWORD)
    with pytest.raises(EmailTaken):
        users.create_user(email=email.title(), name="Eve", password=PASSWORD)


@pytest.mark.parametrize(
    "password",
    [
        "eleven char",
        "x" * 257,
        "Password1234",
        "correct horse battery staple",
        "qwertyuiop12",
        "abababababab",
        "ANN-ANN-ANN@EXAMPLE.COM",
        "ann-ann-ann@example.com ",
        "ann-ann-ann-ann",
    ],
)
def test_password_that_is_guessed_first_is_refused(password: str) -> None:
    email = "ann-ann-ann@example.com"
    if password == "ann-ann-ann-ann":
        email = f"{password}@example.com"
    with pytest.raises(Invalid):
        check_password(password, email)


@pytest.mark.parametrize(
    "password", ["twelve chars", "x1!" * 85, "пароль подлиннее", "ann@example.com and more"]
)
def test_other_passwords_are_good_without_rules_about_characters(password: str) -> None:
    check_password(password, "ann@example.com")


def test_unknown_user_is_not_found(users: UserService) -> None:
    for ask in (users.get_user, users.disable_user, users.enable_user, users.end_sessions):
        with pytest.raises(NotFound):
            ask(1)
    with pytest.raises(NotFound):
        users.get_user_by_email(new_email())


def test_user_sees_themselves_and_their_workspaces(
    app: Flask, caller: Caller, other_caller: Caller
) -> None:
    viewer = caller.with_role("viewer", f"me-{uuid.uuid4().hex[:8]}@example.com")
    members: MemberService = app.extensions["signpost.services"][MemberService]
    members.add_member(other_caller.workspace_id, viewer.user_id, "owner")
    me = viewer.get("/users/me").json or {}
    assert (me["id"], me["name"], me["has_password"]) == (str(viewer.user_id), "Viewer", True)
    assert me["memberships"] == [
        {
            "workspace_id": str(caller.workspace_id),
            "workspace_name": "Test",
            "role": "viewer",
        },
        {
            "workspace_id": str(other_caller.workspace_id),
            "workspace_name": "Test",
            "role": "owner",
        },
    ]
    assert "hash" not in viewer.get("/users/me").text
    problem(caller.get("/users/me"), 403, "user-needed")


def test_user_changes_name_and_password_with_the_present_one(
    caller: Caller, users: UserService
) -> None:
    viewer = caller.with_role("viewer")
    email = users.get_user(viewer.user_id).email
    wrong = {"current_password": "not the password", "name": "Eve", "password": "a new long one"}
    assert wrong_fields(viewer.patch("/users/me", wrong)) == ["/current_password"]
    assert wrong_fields(viewer.patch("/users/me", {"name": "Eve"})) == ["/current_password"]
    weak = {"current_password": PASSWORD, "name": "Eve", "password": email}
    assert wrong_fields(viewer.patch("/users/me", weak)) == ["/password"]
    assert users.get_user(viewer.user_id).name == "Viewer"
    good = {"current_password": PASSWORD, "name": "Ann", "password": "a new long one"}
    answer = viewer.patch("/users/me", good)
    assert answer.status_code == 200
    assert (answer.json or {})["name"] == "Ann"
    users.sign_in(email, "a new long one", HERE)
    with pytest.raises(SignInRefused):
        users.sign_in(email, PASSWORD, HERE)
    (event,) = events(caller, "user.update")
    assert event["target"] == {"kind": "user", "id": str(viewer.user_id)}
    assert event["details"] == {"fields": ["current_password", "name", "password"]}


def test_new_password_ends_sessions_and_a_new_name_does_not(
    caller: Caller, users: UserService
) -> None:
    viewer = caller.with_role("viewer")
    users.change_user(viewer.user_id, PASSWORD, HERE, name="Ann")
    assert users.get_user(viewer.user_id).signed_out_at is None
    users.change_user(viewer.user_id, PASSWORD, HERE, password="a new long one")
    assert users.get_user(viewer.user_id).signed_out_at is not None


def test_guessing_the_present_password_with_a_stolen_key_is_slowed_down(
    db: Database, settings: Settings, caller: Caller
) -> None:
    users = limited(db, settings, account=2)
    viewer = caller.with_role("viewer")
    for _ in range(2):
        with pytest.raises(Invalid):
            users.change_user(viewer.user_id, "a guess at it", HERE, name="Eve")
    with pytest.raises(TooManyRequests):
        users.change_user(viewer.user_id, PASSWORD, HERE, name="Eve")
