"""What a Redis URL says."""

from __future__ import annotations

import pytest

from charging.ledger.redis.url import RedisUrl, parse

GOOD = {
    "redis://localhost": RedisUrl("single", (("localhost", 6379),)),
    "redis://localhost:7000/3": RedisUrl("single", (("localhost", 7000),), database=3),
    "rediss://me:p%40ss@[::1]:1?ca_file=/etc/ca.pem": RedisUrl(
        "single", (("::1", 1),), "me", "p@ss", tls=True, ca_file="/etc/ca.pem"
    ),
    "redis+sentinel://a,b:1/mymaster/2?min_replicas_ack=1": RedisUrl(
        "sentinel", (("a", 26379), ("b", 1)), database=2, master="mymaster", min_replicas_ack=1
    ),
    "redis+sentinel://a/m?sentinel_user=watcher&tls=yes": RedisUrl(
        "sentinel", (("a", 26379),), master="m", sentinel_user="watcher", tls=True
    ),
    "redis://a?tls=no": RedisUrl("single", (("a", 6379),)),
    "redis+cluster://:pw@a:1,b:2?timeout_s=0.5&prefix=x&tls=yes": RedisUrl(
        "cluster", (("a", 1), ("b", 2)), "", "pw", tls=True, prefix="x", timeout_s=0.5
    ),
}

BAD = {
    "redis://": "a host is missing",
    "redis://a,b": "one host expected",
    "redis://a/0/1": "unexpected path",
    "redis://a/x": "database is not a whole number",
    "redis://a:port": "[Pp]ort",
    "redis+sentinel://a": "the master's name is missing",
    "redis+cluster://a/1": "unexpected path",
    "redis://me:a/b@h": "not percent-encoded",
    "redis://me:a#b@h": "not percent-encoded",
    "redis://me:a?b@h": "not percent-encoded",
    "redis://a?prefix": "an option is not NAME=VALUE",
    "redis://a?timeout_s=0": "timeout_s is not between",
    "redis://a?min_replicas_ack=-1": "min_replicas_ack is not a whole number",
    "redis://a?color=red": "unknown option color",
    "redis+unix:///x": "unknown scheme",
    "redis+cluster://a?tls=true": "tls is neither yes nor no",
    "redis+cluster://a?tls=1": "tls is neither yes nor no",
    "redis+cluster://a?tls=YES": "tls is neither yes nor no",
    "redis+cluster://a?tls=": "tls is empty",
    "redis+cluster://a?tls=yes&tls=no": "given twice",
    "rediss://a?tls=no": "rediss:// is TLS",
    "redis://a?ca_file=/etc/ca.pem": "ca_file is for TLS",
    "redis+sentinel://a/m?ca_file=/etc/ca.pem&tls=no": "ca_file is for TLS",
    "redis://a?prefix={charging}": "braces",
    "redis://a?prefix=x%7D": "braces",
    "redis://a?prefix=": "prefix is empty",
    "redis://a?sentinel_user=watcher": "sentinel_user is for",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_is_read(url: str) -> None:
    assert parse(url) == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_refused_with_what_is_wrong(url: str) -> None:
    with pytest.raises(ValueError, match=BAD[url]):
        parse(url)
