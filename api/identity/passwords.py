"""Which passwords a user may have (NIST SP 800-63B section 5.1.1.2: length, and none of the
commonest; no rules about kinds of characters)."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cache

from api.core.errors import Invalid
from api.core.passwords import MAX_PASSWORD_LENGTH, hash_password, password_matches

MIN_PASSWORD_LENGTH = 12
# Of the lists of leaked passwords, the commonest that are long enough.
_COMMON = frozenset(
    """
    000000000000 0123456789ab 012345678910 111111111111 111222333444 112233445566 121212121212
    123123123123 1234512345123 123456123456 1234567890123 12345678901234 123456789012 123456789123
    1234567891011 1234567890abc 1234567890qwe 123456789abc 1234qwerasdf 123qweasdzxc 1q2w3e4r5t6y
    1q2w3e4r5t6y7u 1qaz2wsx3edc 1qaz2wsx3edc4rfv 1qazxsw23edc abc123456789 abcd12345678 abcdefghijkl
    abcdefghijklm adminadmin123 administrator administrator1 asdfasdfasdf asdfghjkl123 changeme1234
    changemenow1 computer1234 contrasena123 correcthorse correcthorsebatterystaple
    default12345 football1234 hello1234567 iloveyou1234 iloveyouforever
    justinbieber letmein12345 letmeinplease liverpool123 manchesterunited michaeljordan
    motdepasse123 mypassword123 p@ssw0rd1234 p@ssword1234 passw0rd1234 password!234 password0000
    password1111 password1234 password12345 password123456 password2023 password2024 password2025
    password2026 passwordpassword passwort1234 passwort12345 q1w2e3r4t5y6 qazwsxedcrfv
    qwer1234asdf qwerasdfzxcv qwerty123456 qwerty1234567 qwertyqwerty qwertyuiop12 qwertyuiop123
    qwertyuiopas qwertzuiop123 secret123456 signpost1234 starwars1234 sunshine1234 superman1234
    temppassword test12345678 testtesttest thisisapassword trustno1trustno1 welcome12345
    welcometothejungle zaq12wsxcde3 zxcvbnm12345 zxcvbnmasdfghjkl
    """.split()
) | {"correct horse battery staple"}


def check_password(password: str, email: str, pointer: str = "/password") -> None:
    """Refuse what is guessed first.

    Raises:
        Invalid: too short, too long, the address itself, or a common one.
    """
    length = len(password)
    if not MIN_PASSWORD_LENGTH <= length <= MAX_PASSWORD_LENGTH:
        wrong = f"Must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters."
        raise Invalid.field(pointer, wrong)
    plain = password.strip().lower()
    if plain in (email, email.partition("@")[0]):
        raise Invalid.field(pointer, "Must not be the address.")
    if plain in _COMMON or len(set(plain)) < 3:
        raise Invalid.field(pointer, "Is one of those that are tried first.")


def hash_of(password: str) -> str:
    """What is kept of a password."""
    return hash_password(_spelled(password))


def is_password(password_hash: str | None, password: str) -> bool:
    """Whether it is the one that was hashed; takes as long where there is none."""
    nobodys = _nobodys_hash()  # also where it is not needed, or the first need would show
    compared = nobodys if password_hash is None else password_hash
    matches = password_matches(compared, _spelled(password[:MAX_PASSWORD_LENGTH]))
    return matches and password_hash is not None and len(password) <= MAX_PASSWORD_LENGTH


@cache
def _nobodys_hash() -> str:
    return hash_password(secrets.token_urlsafe(32))


def _spelled(password: str) -> str:
    # One keyboard sends é as one character, another as two.
    return unicodedata.normalize("NFC", password)
