"""The schemes and their options, without a server."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis
import redis.asyncio

from session_continuity import ConfigError, Registry, parse_url
from session_continuity_redis import RedisStorage
from session_continuity_redis.config import RedisOptions
from session_continuity_redis.connecting import open_clients
from session_continuity_redis.errors import translate
from session_continuity_redis.health import status_of


def options_of(url: str) -> Any:
    parsed = parse_url(url, environ={"PW": "p@:/?#"})
    return Registry().plugin(parsed.scheme).options.from_url(parsed)


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None}),
        ("redis://h:1/3?namespace=n&prefix=app", {"host": "h", "port": 1, "db": 3, "namespace": "n", "prefix": "app"}),
        ("rediss://u:${PW}@h", {"username": "u"}),
        ("unix:///run/redis.sock?db=2", {"path": "/run/redis.sock", "db": 2}),
        ("redis+cluster://a:1?node=b:2&node=c:3", {"index_parts": 8, "node": ["b:2", "c:3"]}),
        ("redis+sentinel://a/main/4?node=b:2", {"port": 26379, "service": "main", "db": 4, "node": ["b:2"]}),
        ("redis://?timeout=0.5&retries=0&grace=60&max_connections=7", {"timeout": 0.5, "retries": 0, "grace": 60}),
    ],
)
def test_a_url_says_what_it_means(url: str, fields: dict[str, Any]) -> None:
    options = options_of(url)
    assert {name: getattr(options, name) for name in fields} == fields


@pytest.mark.parametrize(
    "client",
    [
        "redis://localhost",
        None,
        redis.Redis,
        redis.Redis().pipeline(),
        redis.asyncio.Redis().pipeline(),
        redis.asyncio.ConnectionPool(),
    ],
)
def test_what_is_no_client_is_refused_with_the_way_to_open_a_store(client: Any) -> None:
    with pytest.raises(ConfigError, match=r"redis-py's.*open_storage"):
        RedisStorage(client)


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
def test_a_client_that_writes_another_encoding_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"latin-1.*utf-8"):
        RedisStorage(kind(encoding="latin-1"))
    assert RedisStorage(kind(encoding="UTF8")).mode


@pytest.mark.parametrize(
    ("option", "wrong"),
    [("prefix", "{x}"), ("namespace", "n" * 129), ("index_parts", 0), ("grace", -1), ("max_message_bytes", 0)],
)
def test_options_beside_a_client_are_checked_like_those_of_a_url(option: str, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        RedisStorage(redis.Redis(), **{option: wrong})


def test_credentials_come_from_variables_and_stay_out_of_sight() -> None:
    options = options_of("redis://u:${PW}@h")
    assert options.password.get_secret_value() == "p@:/?#"
    assert "p@" not in repr(options)
    shown = Registry(environ={"PW": "p@:/?#"}).redacted("redis+sentinel://u:${PW}@h/main?sentinel_password=${PW}")
    assert "p@" not in shown
    assert "main" in shown


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://?timeuot=1", "did you mean timeout"),
        ("redis://h/notanumber", "db"),
        ("redis://?prefix={x}", "prefix"),
        ("redis://?index_parts=0", "index_parts"),
        ("redis://?timeout=0", "timeout"),
        ("redis://?timeout=inf", "timeout"),
        ("redis://?connect_timeout=1e999", "connect_timeout"),
        ("redis://?grace=99999999999999", "grace"),
        ("unix://host/path", "unix:///path"),
        ("unix://", "unix:///path"),
        ("redis+cluster://h/3", "must have no path"),
        ("redis+sentinel://h", "must name the service"),
        ("redis://?node=b:1", "is unknown"),
    ],
)
def test_a_wrong_url_is_refused_before_anything_is_opened(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        options_of(url)


def test_a_node_without_a_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="host:port"):
        options_of("redis+cluster://h?node=b").nodes()


def test_a_node_may_be_an_ipv6_address() -> None:
    assert options_of("redis+cluster://[::1]:7?node=[fe80::2]:8").nodes() == [("::1", 7), ("fe80::2", 8)]


@pytest.mark.parametrize(
    ("url", "kind", "asynchronous"),
    [
        ("redis://h:7/3", redis.connection.Connection, redis.asyncio.connection.Connection),
        ("rediss://h:7/3", redis.connection.SSLConnection, redis.asyncio.connection.SSLConnection),
        ("unix:///run/s?db=3", redis.connection.UnixDomainSocketConnection, redis.asyncio.UnixDomainSocketConnection),
    ],
)
def test_a_scheme_opens_its_kind_of_connection(url: str, kind: type, asynchronous: type) -> None:
    options: RedisOptions = options_of(url)
    scheme = parse_url(url).scheme
    for mode, expected in (("blocking", kind), ("async", asynchronous)):
        pool = open_clients(scheme, options, mode)[0].connection_pool  # type: ignore[arg-type]
        assert pool.connection_class is expected
        assert pool.connection_kwargs["db"] == 3
        assert pool.connection_kwargs["socket_timeout"] == 5.0


def test_a_certificate_that_nobody_vouches_for_is_no_passing_failure() -> None:
    told = (
        "Error 1 connecting to h:1. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
    )
    error = translate(redis.ConnectionError(told))
    assert not error.retryable
    assert "tls_ca" in error.message


def test_tls_trusts_the_authority_that_is_named() -> None:
    pool = open_clients("rediss", options_of("rediss://h?tls_ca=/ca.pem"), "blocking")[0].connection_pool
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert pool.make_connection().cert_reqs.name == "CERT_REQUIRED"


def test_looking_at_the_plugin_imports_no_driver() -> None:
    program = (
        "import sys; from session_continuity import Registry; plugin = Registry().plugin('redis+cluster');"
        "plugin.capabilities(plugin.options()); assert 'redis' not in sys.modules, 'the driver was imported'"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("check", "kept"), [("full", (True, "required")), ("authority", (False, "required")), ("none", (False, "none"))]
)
def test_less_of_a_certificate_may_be_checked_and_health_warns(check: str, kept: tuple[bool, str]) -> None:
    options = options_of(f"rediss://h?tls_check={check}")
    pool = open_clients("rediss", options, "blocking")[0].connection_pool
    found = pool.connection_kwargs
    assert (found["ssl_check_hostname"], found["ssl_cert_reqs"]) == kept
    status = status_of([{"role": "master"}], None, tls_check=options.tls_check, latency_ms=1)
    assert status.status == ("healthy" if check == "full" else "degraded")
