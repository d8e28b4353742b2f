"""URLs: what they name, and what is refused."""

from __future__ import annotations

import pytest

from session_continuity import ConfigError, Registry, parse_url
from session_continuity_postgres.config import PostgresOptions
from session_continuity_postgres.connections import OwnedConnections


def arguments(url: str) -> dict[str, object]:
    """What psycopg is called with for this URL."""
    return OwnedConnections(PostgresOptions.from_url(parse_url(url, environ={"PW": "s3:/@"})), "blocking").arguments


def test_a_url_names_a_server() -> None:
    stated = arguments("postgresql://ann:${PW}@db.example:6543/chat?sslmode=verify-full&sslrootcert=/ca.pem")
    wanted = {
        "host": "db.example",
        "port": "6543",
        "user": "ann",
        "password": "s3:/@",
        "dbname": "chat",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "autocommit": True,
    }
    assert {name: stated.get(name) for name in wanted} == wanted


def test_what_a_url_leaves_out_is_left_to_libpq() -> None:
    assert not {"host", "port", "user", "password", "dbname"} & arguments("postgresql://").keys()


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql:///x?host=/run/postgresql", "/run/postgresql", "5432"),
        ("postgresql:///x?host=a,b:6000", "a,b", "5432,6000"),
        ("postgresql:///x?host=a:1,[::1]:2&port=9", "a,::1", "1,2"),
        ("postgresql://[::1]:2/x", "::1", "2"),
    ],
)
def test_hosts_are_written_as_libpq_takes_them(url: str, host: str, port: str) -> None:
    stated = arguments(url)
    assert (stated["host"], stated["port"]) == (host, port)
    assert ("target_session_attrs" in stated) is ("," in host)


@pytest.mark.parametrize(
    "option",
    [
        "schema=Upper",
        "schema=a%22b",
        "schema=pg_mine",
        "schema=",
        "max_connections=0",
        "timeout=0",
        "sslmode=perhaps",
        "port=0",
        "create=perhaps",
        "unknown=1",
    ],
)
def test_a_wrong_option_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option.partition("=")[0] if "unknown" not in option else "is unknown"):
        PostgresOptions.from_url(parse_url(f"postgresql://h/x?{option}"))


def test_both_schemes_open_the_same_store() -> None:
    stores = [Registry().create(f"{scheme}://h/x", "blocking") for scheme in ("postgresql", "postgres")]
    assert {store.backend for store in stores} == {"postgresql"}


def test_a_password_is_not_shown() -> None:
    options = PostgresOptions.from_url(parse_url("postgresql://ann:hidden-word@h/x"))
    assert "hidden-word" not in repr(options)
    with pytest.raises(ConfigError) as refused:
        PostgresOptions.from_url(parse_url("postgresql://ann:hidden-word@h/x?password=hidden-word"))
    assert "hidden-word" not in str(refused.value)
