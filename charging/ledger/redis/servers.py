"""What in the settings of a Redis can lose money, by its own words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from charging.ledger.redis.url import RedisUrl

LOST = "Redis {}: AFTER A FAIL-OVER NOTHING IS BOOKED: {}"
"""Of a replica that the ledger's user could not use."""

APPEND = (
    "`redis-cli config set appendonly yes` FIRST, then `redis-cli config rewrite` once `redis-cli info persistence` "
    "has aof_rewrite_scheduled:0, aof_rewrite_in_progress:0; a restart before, or with that line alone, EMPTIES it"
)
"""A Redis of version 7 that has no append-only file reads no dump.rdb where it is to have one."""


def open_doors(url: RedisUrl) -> list[str]:
    """What in the network between the ledger and its users asks for no password."""
    away = [f"{host}:{port}" for host, port in url.hosts if not _is_here(host)]
    if not away:
        return []
    found, at = [], ", ".join(away)
    if url.mode == "sentinel" and not url.sentinel_password:
        found.append(
            f"Sentinels {at}: they ask for no password, and whoever reaches one of their ports is sent the ledger's "
            "(he names them a primary of his own): requirepass in sentinel.conf, ledger.sentinel_password_file"
        )
    if not url.password:
        found.append(
            f"Redis {at}: it asks for no password: whoever reaches its port writes all balances; give the ledger a "
            "user (docs/high-availability.md), and ledger.password_file"
        )
    return found


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def node_warnings(node: str, info: Mapping[str, Any], told: Any, replicas_wanted: int) -> list[str]:
    """``info``: the answer to ``INFO``, ``told``: to ``CONFIG GET appendfsync``; ``None``: there was none."""
    found = _settings_warnings(node, info, told, replicas_wanted)
    if (replicas := info.get("connected_slaves", 0)) < replicas_wanted:
        found.append(
            f"Redis {node}: NOTHING IS BOOKED: min_replicas_ack={replicas_wanted} in ledger.url, and it has {replicas} "
            "replicas; connect more, or ask for fewer"
        )
    elif not replicas:
        found.append(f"Redis {node}: it has no replica: with its disk, the ledger is gone")
    return found


def replica_warnings(node: str, info: Mapping[str, Any], told: Any, replicas_wanted: int) -> list[str]:
    """The same of a replica, whose settings are its own: they count after a fail-over."""
    return _settings_warnings(node, info, told, replicas_wanted)


def replicas_of(info: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return hosts and port numbers of a master's replicas, as it sees them."""
    count = info.get("connected_slaves", 0)
    known = [one for number in range(count) if isinstance(one := info.get(f"slave{number}"), Mapping)]
    return [(str(one["ip"]), int(one["port"])) for one in known]


def _settings_warnings(node: str, info: Mapping[str, Any], told: Any, replicas_wanted: int) -> list[str]:
    found = []
    if not info.get("aof_enabled"):
        found.append(f"Redis {node}: appendonly is no: a crash loses transfers; {APPEND}")
    elif not info.get("aof_base_size") and (info.get("aof_rewrite_scheduled") or info.get("aof_rewrite_in_progress")):
        found.append(f"Redis {node}: it has no append-only file yet, and a restart EMPTIES the ledger; wait for it")
    elif (found_fsync := _fsync(told)) is None:
        found.append(
            f"Redis {node}: appendfsync could not be read (CONFIG GET is not allowed): make sure that it is always"
        )
    elif found_fsync != "always":
        found.append(
            f"Redis {node}: appendfsync is {found_fsync}: a power cut loses transfers that were answered; "
            "set appendfsync always"
        )
    if replicas_wanted and "min_slaves_good_slaves" not in info:  # it is said where both settings are there
        found.append(
            f"Redis {node}: min-replicas-to-write is 0: cut off from the others it keeps a daemon leading, which hangs "
            "up the calls of the one that has taken over; set min-replicas-to-write 1 and min-replicas-max-lag 5"
        )
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        found.append(f"Redis {node}: maxmemory-policy is {policy}: it may evict money; set noeviction")
    return found


def _fsync(told: Any) -> str | None:
    """The policy in an answer to ``CONFIG GET``, which redis-py makes a dict of, or leaves a list."""
    if isinstance(told, Mapping):
        value = told.get("appendfsync", told.get(b"appendfsync"))
    else:
        value = told[1] if told else None
    return value.decode() if isinstance(value, bytes) else value
