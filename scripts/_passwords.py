"""How scripts are told a password: never by an argument, which other users of the machine see."""

from __future__ import annotations

import sys

import click


def ask_password(*, from_stdin: bool) -> str:
    """A new password, from standard input or from whoever sits at the terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask at: use --password-stdin.")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password
