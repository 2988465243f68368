"""Redis servers with replicas that take over: watched by sentinels, or in a cluster."""

from __future__ import annotations

from pathlib import Path

from tests.integration.redis_servers import RedisServer, make_cluster, wait_until

MASTERS = 3


class Sentinels:
    """One master, its replicas, three sentinels."""

    def __init__(self, folder: Path, replicas: int = 1) -> None:
        self._master = RedisServer(folder)
        follows = f"replicaof 127.0.0.1 {self._master.port}"
        self._replicas = [RedisServer(folder, follows) for _ in range(replicas)]
        watch = (
            f"sentinel monitor ledger 127.0.0.1 {self._master.port} 2",
            "sentinel down-after-milliseconds ledger 600",
            "sentinel failover-timeout ledger 4000",
        )
        self._sentinels = [RedisServer(folder, *watch, sentinel=True) for _ in range(3)]

    def __enter__(self) -> Sentinels:
        self._master.start()
        for replica in self._replicas:
            replica.start()
        wait_until(self._in_sync, "the replica is not in sync")
        for sentinel in self._sentinels:
            sentinel.start()
        wait_until(self._all_known, "the sentinels do not know one another")
        return self

    def __exit__(self, *_: object) -> None:
        for server in (*self._sentinels, *self._replicas, self._master):
            server.stop()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self._sentinels)
        return f"redis+sentinel://{hosts}/ledger?timeout_s=0.5"

    def master_and_replica(self, _account: str = "") -> tuple[RedisServer, RedisServer]:
        """As they were started."""
        return self._master, self._replicas[0]

    def fail_over(self) -> None:
        """As an operator does who is about to restart the master."""
        self._sentinels[0].cli("sentinel", "failover", "ledger")

    def leader_port(self) -> int:
        """Of the master that a sentinel names."""
        told = self._sentinels[0].cli("sentinel", "get-master-addr-by-name", "ledger")
        return int(told.split()[1])

    def _in_sync(self) -> bool:
        return all("master_link_status:up" in one.cli("info", "replication") for one in self._replicas)

    def _all_known(self) -> bool:
        told = [sentinel.cli("info", "sentinel") for sentinel in self._sentinels]
        known = f"slaves={len(self._replicas)},sentinels=3"
        return all(known in one and "status=ok" in one for one in told)


class Cluster:
    """Three masters, and so many replicas of each."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self._replicas = replicas
        settings = "cluster-enabled yes", "cluster-node-timeout 1500"
        self._servers = [RedisServer(folder, *settings) for _ in range(MASTERS * (1 + replicas))]

    def __enter__(self) -> Cluster:
        self.start()
        make_cluster(self._servers, self._replicas)
        wait_until(lambda: all(self._is_ready(server) for server in self._servers), "the replicas are not in sync")
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.stop()

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def kill(self) -> None:
        for server in self._servers:
            server.kill()

    def _is_ready(self, server: RedisServer) -> bool:
        """Also all the others have told it by now who is whose replica."""
        nodes = [line.split() for line in server.cli("cluster", "nodes").splitlines()]
        if sum("slave" in node[2] and node[3] != "-" for node in nodes) != MASTERS * self._replicas:
            return False
        said = server.cli("info", "replication")
        return (
            f"connected_slaves:{self._replicas}" in said if "role:master" in said else "master_link_status:up" in said
        )

    @property
    def url(self) -> str:
        return self.url_by(*(server.port for server in self._servers))

    @staticmethod
    def url_by(*ports: int) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in ports)}?timeout_s=1"

    @property
    def port(self) -> int:
        """One node's."""
        return self._servers[0].port

    def master_and_replica(self, account: str) -> tuple[RedisServer, RedisServer]:
        """Those that have the account."""
        by_port = {str(server.port): server for server in self._servers}
        slot = int(self._servers[0].cli("cluster", "keyslot", f"{{{account}}}"))
        nodes = [line.split() for line in self._servers[0].cli("cluster", "nodes").splitlines()]
        (master,) = [node for node in nodes if any(_holds(part, slot) for part in node[8:])]
        replica = next(node for node in nodes if node[3] == master[0])
        ports = [node[1].partition("@")[0].partition(":")[2] for node in (master, replica)]
        return by_port[ports[0]], by_port[ports[1]]


def _holds(slots: str, slot: int) -> bool:
    first, _, last = slots.partition("-")
    return int(first) <= slot <= int(last or first)
