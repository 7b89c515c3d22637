"""For how long what is given out counts."""

from __future__ import annotations

# An access token is judged without asking anybody, so it is short-lived (RFC 9068 section 5).
TOKEN_SECONDS = 600
# Clocks of machines differ.
SKEW_SECONDS = 30
ACCEPTED_SECONDS = TOKEN_SECONDS + SKEW_SECONDS
# RFC 6749 section 4.1.2 wants at most ten minutes; a client redeems its code at once.
CODE_SECONDS = 60
# RFC 8628 section 3.2: for as long may a person take to find the page and sign in.
DEVICE_SECONDS = 900
DEVICE_INTERVAL_SECONDS = 5
# Each use of a refresh token gives a new one with this life.
REFRESH_SECONDS = 30 * 86_400
# A person who signed in is known for as long.
SESSION_SECONDS = 3_600
