"""How a Redis is named: one server by one URL, a cluster by the URLs of some of its nodes in one.

`redis+cluster://a:7000,b:7001,c:7002` (with TLS `rediss+cluster://`) is a cluster, of
which any node that answers tells the others. Several nodes can be nothing else, so that the short
form `redis://a:7000,b:7001` means the same.
"""

from __future__ import annotations

import re

_FORM = re.compile(r"(rediss?)(\+cluster)?://(?:(.*)@)?([^/?#]*)(.*)", re.DOTALL)


def is_cluster(url: str | None) -> bool:
    """Whether the Redis at `url`, of the settings, is a cluster."""
    return url is not None and "+cluster://" in url[:17]


def node_urls(url: str) -> list[str]:
    """A URL that redis-py knows for each of the nodes that `url` names; of one server its own."""
    found = _FORM.fullmatch(url)
    if found is None:
        return [url]
    scheme, _, who, hosts, rest = found.groups()
    login = "" if who is None else f"{who}@"
    return [f"{scheme}://{login}{host}{rest}" for host in hosts.split(",")]


def normalize(url: str) -> str:
    """The long form of a URL.

    Raises:
        ValueError: it names nodes where there are none, or a database that no cluster has.
    """
    found = _FORM.fullmatch(url)
    if found is None:
        return url
    scheme, cluster, who, hosts, rest = found.groups()
    if cluster is None and "," not in hosts:
        return url
    if not all(hosts.split(",")):
        raise ValueError("A node of the cluster has no name.")
    if re.match(r"/[^?]*[^0/?]|.*[?&]db=(?!0(&|$))", rest):
        raise ValueError("A cluster has no other database than 0.")
    login = "" if who is None else f"{who}@"
    return f"{scheme}+cluster://{login}{hosts}{rest}"


def unverified(url: str) -> str:
    """A URL by which any certificate is taken, where it does not say itself which are."""
    if not url.startswith("rediss") or "ssl_cert_reqs=" in url or "ssl_ca_certs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=none&ssl_check_hostname=false"


def url_at(url: str, host: str, port: int) -> str:
    """The URL of one node of the cluster at `url`."""
    return _FORM.sub(lambda found: _at(found, host, port), url)


def _at(found: re.Match[str], host: str, port: int) -> str:
    scheme, _, who, _, rest = found.groups()
    login = "" if who is None else f"{who}@"
    return f"{scheme}://{login}{f'[{host}]' if ':' in host else host}:{port}{rest}"
