"""Unexpected errors, told to a Sentry where `SENTRY_DSN` names one (docs/errors.md)."""
