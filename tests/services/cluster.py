"""A private Redis Cluster on loopback: the wheel's Valkey, or, for TLS, Debian's Redis."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisError

from api.core.embedded import processes
from api.core.embedded.valkey import find_program
from tests.services.certificates import Authority
from tests.services.network import free_ports

_SLOTS = 16_384
_START_SECONDS = 20.0
# How soon nodes find that another is gone; a replica takes over a little later.
_NODE_TIMEOUT_MS = 1_000


class PrivateCluster:
    """Three primaries; with `replicas` each of them has one. What a node holds outlives its death.

    With an `authority` it speaks TLS alone, with a `password` it knows who asks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: bool = False,
        authority: Authority | None = None,
        password: str | None = None,
    ) -> None:
        self._folder = folder
        self._primaries = 3
        self._authority = authority
        self._password = password
        ports = free_ports(12 if replicas else 6)
        self.ports = ports[::2]
        self._bus = dict(zip(self.ports, ports[1::2], strict=True))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """As REDIS_URL names it."""
        scheme = "redis" if self._authority is None else "rediss"
        login = f":{quote(self._password)}@" if self._password else ""
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        tls = f"?ssl_ca_certs={self._authority.file}" if self._authority else ""
        return f"{scheme}+cluster://{login}{nodes}/0{tls}"

    @property
    def client(self) -> RedisCluster:
        """redis-py's own client, which is not the one that is tested."""
        seeds = [ClusterNode("127.0.0.1", port) for port in self._processes]
        return RedisCluster(startup_nodes=seeds, require_full_coverage=False, **self._options())

    @property
    def running(self) -> list[int]:
        """The ports of the nodes that were not killed."""
        return list(self._processes)

    def node(self, port: int) -> redis.Redis:
        """A client of one node."""
        return redis.Redis("127.0.0.1", port, **self._options())

    def start(self) -> None:
        """Start all nodes and make them one; the whole answers when this returns."""
        for port in self.ports:
            self._spawn(port)
        nodes = [self.node(port) for port in self.ports]
        for port in self.ports:
            self._wait(lambda port=port: self.node(port).ping())
        for number, node in enumerate(nodes[: self._primaries]):
            first, last = (_SLOTS * (number + each) // self._primaries for each in (0, 1))
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        first_port = self.ports[0]
        for node in nodes[1:]:
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", first_port, self._bus[first_port])
        for port, primary in zip(self.ports[self._primaries :], nodes, strict=False):
            name = primary.execute_command("CLUSTER", "MYID")
            self._wait(lambda: self.node(port).execute_command("CLUSTER", "REPLICATE", name))  # noqa: B023
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait until every node that runs finds all slots served, and replicas have their data."""
        for port in self._processes:
            node = self.node(port)
            self._wait(lambda node=node: self._state(node) == "ok")
            self._wait(
                lambda node=node: node.info("replication").get("master_link_status") != "down"
            )

    def primary_of(self, key: str) -> int:
        """The port of the node that owns a key, before any has failed."""
        slot = key_slot(key.encode())
        return self.ports[slot * self._primaries // _SLOTS]

    @contextmanager
    def moving(self, key: str, source: int, target: int) -> Iterator[Callable[[str], None]]:
        """The slot of `key` on its way from one primary to another; gives what moves a key of it.
        What is left goes at the end."""
        slot, nodes = key_slot(key.encode()), {port: self.node(port) for port in (source, target)}
        names = {port: node.execute_command("CLUSTER MYID") for port, node in nodes.items()}
        nodes[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
        nodes[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])

        def move(name: str | bytes) -> None:
            nodes[source].migrate("127.0.0.1", target, name, 0, 1_000)

        yield move
        while left := nodes[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            for name in left:
                move(name)
        for port in (target, source):
            nodes[port].execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])

    def replica_of(self, port: int) -> int:
        """The port of the replica that a primary began with."""
        return self.ports[self._primaries + self.ports.index(port)]

    def send(self, port: int, number: signal.Signals) -> None:
        """Send a signal to a node, such as to stop for a while."""
        self._processes[port].send_signal(number)

    def kill(self, port: int) -> None:
        """End a node as a crash would."""
        process = self._processes.pop(port)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def restart(self, port: int) -> None:
        """Start it again, with what it has on its disk."""
        self._spawn(port)
        self._wait(lambda: self.node(port).ping())

    def stop(self) -> None:
        """Stop all."""
        for process in self._processes.values():
            processes.stop(process, [])

    def _spawn(self, port: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {
            "bind": "127.0.0.1",
            "port": port,
            "cluster-enabled": "yes",
            "cluster-port": self._bus[port],
            "cluster-node-timeout": _NODE_TIMEOUT_MS,
            # What the others have is to be had while one is away.
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "dir": folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
        }
        if self._password:
            options |= {"requirepass": self._password, "masterauth": self._password}
        program = str(find_program())
        if self._authority is not None:
            program = shutil.which("redis-server") or "redis-server"
            issued = self._authority.issue("127.0.0.1")
            options |= {
                "port": 0,
                "tls-port": port,
                "tls-cluster": "yes",
                "tls-replication": "yes",
                "tls-auth-clients": "no",
                "tls-cert-file": issued.certificate,
                "tls-key-file": issued.key,
                "tls-ca-cert-file": self._authority.file,
            }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._processes[port] = processes.spawn(
            [program, *arguments],
            death_signal=signal.SIGKILL,
            log=folder / "server.log",
            folder=folder,
        )

    def _options(self) -> dict[str, Any]:
        tls = {"ssl": True, "ssl_ca_certs": str(self._authority.file)} if self._authority else {}
        return {"password": self._password, "socket_timeout": 2} | tls

    @staticmethod
    def _state(node: redis.Redis) -> str:
        told: Any = node.execute_command("CLUSTER INFO")
        text = told.decode() if isinstance(told, bytes) else str(told)
        return "ok" if "cluster_state:ok" in text or "'cluster_state': 'ok'" in text else text

    def _wait(self, done: Any) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                if done():
                    return
            except RedisError as error:
                assert time.monotonic() < deadline, f"{error}: {self._complaints()}"
            assert time.monotonic() < deadline, self._complaints()
            time.sleep(0.02)

    def _complaints(self) -> Sequence[str]:
        return [
            processes.last_line(self._folder / str(port) / "server.log", "its log is empty")
            for port in self.ports
        ]
