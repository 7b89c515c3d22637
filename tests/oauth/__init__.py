"""Tests of OAuth 2 and of access tokens."""
