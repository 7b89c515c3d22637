"""Servers that do next to nothing: what the machine, WSGI and Flask cost by themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from bench.contestants import Contestant, Link
from bench.needs import find
from tests.running import ROOT

_CONSTANT = "https://example.com/page/1"
_CONFIG = ROOT / "bench" / "rivals" / "nginx.conf"


class Nginx(Contestant):
    """What the machine and the load can do at all."""

    name = "nginx, a constant"
    source = "bench/rivals/nginx.conf"

    def command(self) -> Sequence[str]:
        config = self.folder / "nginx.conf"
        config.write_text(_CONFIG.read_text().replace("PORT", str(self.port)))
        return [find("nginx"), "-p", str(self.folder), "-c", str(config)]

    def environ(self) -> Mapping[str, str]:
        return {}

    def location_of(self, link: Link) -> str:  # noqa: ARG002 - it knows none
        return _CONSTANT


class _Gunicorn(Contestant):
    """gunicorn with its own gevent worker, as it comes."""

    application: str
    worker_class = "gevent"

    def command(self) -> Sequence[str]:
        options = {
            "bind": f"127.0.0.1:{self.port}",
            "workers": "1",
            "worker-class": self.worker_class,
            "log-level": "warning",
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "gunicorn", *flags, "--no-control-socket", self.application]

    def environ(self) -> Mapping[str, str]:
        return {}


class BareWsgi(_Gunicorn):
    """A callable that answers a constant."""

    name = "bare WSGI callable"
    source = "bench/rivals/wsgi.py"
    application = "bench.rivals.wsgi:app"

    def location_of(self, link: Link) -> str:  # noqa: ARG002 - it knows none
        return _CONSTANT


class BareFlask(_Gunicorn):
    """A route that looks nothing up."""

    name = "bare Flask route"
    source = "bench/rivals/flask_route.py"
    application = "bench.rivals.flask_route:app"

    def location_of(self, link: Link) -> str:
        return f"https://example.com/page/{link.slug}"


class FairFlask(BareFlask):
    """The same route, served by our worker class."""

    name = "bare Flask route, our worker"
    worker_class = "api.core.worker.Worker"


class FlaskApi(_Gunicorn):
    """The API's routes over one link in memory: what is left is what Flask and gunicorn cost."""

    name = "bare Flask API"
    source = "bench/rivals/flask_api.py"
    application = "bench.rivals.flask_api:app"
    worker_class = "api.core.worker.Worker"
