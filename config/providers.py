"""What hosts and their add-ons call what has a name of its own here.

An add-on puts its address into the environment by a name that its provider chose. It is read where
our own name is not set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from config.declaring import SettingsError


class Provider(NamedTuple):
    """Who provides what a setting names, and by which names; the best of them first."""

    setting: str
    name: str
    variables: tuple[str, ...]


# Names that lead over the internet without TLS are left out where there is another.
PROVIDERS = (
    Provider("DATABASE_URL", "Heroku Postgres", ("HEROKU_POSTGRESQL_*_URL",)),
    Provider("REDIS_URL", "Heroku Key-Value Store", ("REDIS_TLS_URL",)),
    Provider("REDIS_URL", "Redis Cloud", ("REDISCLOUD_URL",)),
    Provider("REDIS_URL", "RedisGreen", ("REDISGREEN_URL",)),
    Provider("REDIS_URL", "Memetria", ("MEMETRIA_REDIS_URL",)),
    Provider("REDIS_URL", "openredis", ("OPENREDIS_URL",)),
    Provider("REDIS_URL", "Redis To Go", ("REDISTOGO_URL",)),
    Provider("REDIS_URL", "Stackhero", ("STACKHERO_REDIS_URL_TLS",)),
    Provider("AMQP_URL", "CloudAMQP", ("CLOUDAMQP_URL",)),
    Provider("AMQP_URL", "RabbitMQ Bigwig", ("RABBITMQ_BIGWIG_URL", "RABBITMQ_BIGWIG_TX_URL")),
    Provider("AMQP_URL", "Stackhero", ("STACKHERO_RABBITMQ_AMQP_URL_TLS",)),
)


def provided(environ: Mapping[str, str]) -> dict[str, str]:
    """By setting, the name by which the environment has it, where it does not by our own.

    Raises:
        SettingsError: there are several, and nothing says which of them is meant.
    """
    found: dict[str, list[str]] = {}
    for provider in PROVIDERS:
        if not environ.get(provider.setting):
            found.setdefault(provider.setting, []).extend(_names(provider, environ))
    for setting, names in found.items():
        if len(names) > 1:
            raise SettingsError(
                f"{setting}: Not set, and several may be meant: {', '.join(sorted(names))}."
            )
    return {setting: names[0] for setting, names in found.items() if names}


def _names(provider: Provider, environ: Mapping[str, str]) -> Iterator[str]:
    """The first of the variables that is set; of a pattern, which stands for a server each, all."""
    for pattern in provider.variables:
        names = [name for name, value in environ.items() if value and fnmatchcase(name, pattern)]
        if names:
            yield from names
            return
