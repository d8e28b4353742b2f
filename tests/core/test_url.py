"""Storage URLs: what each form means, and the error of each malformed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from session_continuity import BackendURL, ConfigError, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory://", BackendURL("memory")),
        ("memory://name", BackendURL("memory", host="name")),
        ("sqlite:///chat.db", BackendURL("sqlite", path="/chat.db")),
        ("sqlite:////var/chat.db", BackendURL("sqlite", path="//var/chat.db")),
        ("redis://localhost:6379/0", BackendURL("redis", host="localhost", port=6379, path="/0")),
        ("redis://h", BackendURL("redis", host="h")),
        ("redis://h:", BackendURL("redis", host="h")),
        ("redis://h/", BackendURL("redis", host="h", path="/")),
        ("redis://u@h", BackendURL("redis", user="u", host="h")),
        ("redis://u:p@h:1", BackendURL("redis", user="u", password="p", host="h", port=1)),
        ("redis://:p@h", BackendURL("redis", user="", password="p", host="h")),
        ("redis://u:@h", BackendURL("redis", user="u", password="", host="h")),
        ("redis://u:p@", BackendURL("redis", user="u", password="p")),
        ("redis://u:a:b@c@h", BackendURL("redis", user="u", password="a:b@c", host="h")),
        ("redis://[::1]:6379/0", BackendURL("redis", host="::1", port=6379, path="/0")),
        ("redis://u:p@[2001:db8::1]", BackendURL("redis", user="u", password="p", host="2001:db8::1")),
        ("redis://[fe80::1%25eth0]:7", BackendURL("redis", host="fe80::1%eth0", port=7)),
        ("redis+cluster://h", BackendURL("redis+cluster", host="h")),
        ("REDIS://Host", BackendURL("redis", host="Host")),
        ("s://h?", BackendURL("s", host="h")),
        ("s://?a=1&b=2", BackendURL("s", query={"a": "1", "b": "2"})),
        ("s://?a=", BackendURL("s", query={"a": ""})),
        ("s://?a=1&a=2&a=3", BackendURL("s", query={"a": ["1", "2", "3"]})),
        ("s://?a=b=c", BackendURL("s", query={"a": "b=c"})),
        ("s://?a=/x?y", BackendURL("s", query={"a": "/x?y"})),
        ("s://?a=b+c%2Bd", BackendURL("s", query={"a": "b c+d"})),
        ("s://h/a+b", BackendURL("s", host="h", path="/a+b")),
        (
            "s://h?endpoint=http://localhost:8000",
            BackendURL("s", host="h", query={"endpoint": "http://localhost:8000"}),
        ),
        ("s:///ümlaut/%C3%BC.db", BackendURL("s", path="/ümlaut/ü.db")),
        ("s:///home/me@corp/chat.db", BackendURL("s", path="/home/me@corp/chat.db")),
        ("s://%40%3A%2F%3F%23%25@h", BackendURL("s", user="@:/?#%", host="h")),
    ],
)
def test_each_form_of_url_is_split_as_documented(text: str, expected: BackendURL) -> None:
    assert parse_url(text, environ={}) == expected


def test_without_a_text_the_url_comes_from_the_environment() -> None:
    assert parse_url(environ={"SESSION_CONTINUITY_URL": "memory://x"}) == BackendURL("memory", host="x")


@pytest.mark.parametrize("url", [b"memory://", Path("chat.db"), 5])
def test_anything_but_a_string_is_refused_with_the_way_to_write_a_url(url: Any) -> None:
    with pytest.raises(ConfigError, match=r"a storage URL must be a string, not .*write it as scheme"):
        parse_url(url, environ={})


@pytest.mark.parametrize("environ", [{}, {"SESSION_CONTINUITY_URL": ""}])
def test_no_url_at_all_names_the_variable_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"no storage URL: pass one, or set SESSION_CONTINUITY_URL"):
        parse_url(environ=environ)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a storage URL; write it as scheme://"),
        ("chat.db", "not a storage URL"),
        ("sqlite:/chat.db", "not a storage URL"),
        ("://x", "not a storage URL"),
        ("1s://x", "not a storage URL"),
        ("${S}://x", "not a storage URL"),
        (" memory://", "white space or a control character at position 0"),
        ("   ", "white space or a control character at position 0"),
        ("memory://\n", "white space or a control character at position 9"),
        ("memory://a b", "white space or a control character at position 10"),
        ("memory://a\x00", "white space or a control character at position 10"),
        ("memory://a\u200b", "white space or a control character at position 10"),
        ("memory://\udcff", "white space or a control character at position 9"),
        ("redis://:a#b@h", "'#' at position 10; write it as %23"),
        ("redis://[::1", "address in the storage URL is malformed"),
        ("redis://a]b", "address in the storage URL is malformed"),
        ("redis://[::1]x", "address in the storage URL is malformed"),
        ("redis://h:0", "port in the storage URL must be a number from 1 to 65535"),
        ("redis://h:65536", "port in the storage URL must be a number"),
        ("redis://h:-1", "port in the storage URL must be a number"),
        ("redis://h:6379:1", "port in the storage URL must be a number"),
        ("redis://::1", "write an IPv6 address in brackets, as in [::1]"),
        ("redis://h:" + "9" * 5000, "port in the storage URL must be a number"),
        ("redis://h:\u0661", "port in the storage URL must be a number"),
        ("redis://:12/ss@h", "invalid '@' in the path of the storage URL: write it as %40; if it ends the credentials"),
        ("redis://u:a@b/c@h", "invalid '@' in the path"),
        ("s://h?a", "option 1 of the storage URL must be written as option=value"),
        ("s://h?a=1&&b=2", "option 2 of the storage URL must be written as option=value"),
        ("s://h?=1", "option 1 of the storage URL must be written as option=value"),
        ("s://u:100%@h", "invalid percent-escape in the storage URL; write %25 for a percent sign"),
        ("s://h?a=%zz", "invalid percent-escape"),
        ("s://u:%ff@h", "invalid percent-escape in the storage URL: it is not UTF-8"),
        ("s://u:pa$s@h", "invalid '$' in the storage URL: write ${NAME} for a variable or $$ for a dollar sign"),
        ("s://u:$PASSWORD@h", "invalid '$' in the storage URL"),
        ("s://u:${@h", "invalid '$' in the storage URL"),
        ("s://u:${}@h", "invalid '$' in the storage URL"),
        ("s://u:${1A}@h", "invalid '$' in the storage URL"),
        ("s://u:${A:-${B}}@h", "invalid '$' in the storage URL"),
        ("s://u:${A:?gone}@h", "invalid '$' in the storage URL"),
    ],
)
def test_malformed_text_is_refused_with_the_place_and_the_remedy(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(text, environ={"A": "a", "B": "b", "S": "s", "PASSWORD": "p"})
    assert reason in str(caught.value)


@given(st.text(max_size=40))
def test_any_garbage_parses_or_raises_a_config_error(text: str) -> None:
    try:
        parse_url(text, environ={})
    except ConfigError:
        return


@given(st.text("/:@?&=[]%$#{}-+.ab1 ", max_size=20))
def test_any_arrangement_of_delimiters_parses_or_raises_a_config_error(text: str) -> None:
    try:
        parse_url("s://" + text, environ={})
    except ConfigError:
        return


@given(user=st.text(min_size=1), password=st.text(), host=st.text(min_size=1), path=st.text(), option=st.text())
def test_percent_encoding_carries_every_character(user: str, password: str, host: str, path: str, option: str) -> None:
    parts = [quote(part, safe="", errors="replace") for part in (user, password, host, path, option)]
    parsed = parse_url("s://{}:{}@{}/{}?o={}".format(*parts), environ={})
    assert [parsed.user, parsed.password, parsed.host, parsed.path[1:], parsed.query["o"]] == [
        part.encode(errors="replace").decode() for part in (user, password, host, path, option)
    ]


@given(value=st.text())
def test_a_variable_needs_no_escaping_in_any_part(value: str) -> None:
    parsed = parse_url("s://${V}:a${V}b@${V}/${V}?o=${V}", environ={"V": value})
    assert parsed == BackendURL("s", value, f"a{value}b", value, None, f"/{value}", {"o": value})


def test_a_port_may_come_from_a_variable() -> None:
    assert parse_url("s://${H}:${P}/0", environ={"H": "::1", "P": "63"}) == BackendURL(
        "s", host="::1", port=63, path="/0"
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("s:///${X:-a}", "/a"),
        ("s:///${X:-}", "/"),
        ("s:///${X:-/b/c}", "//b/c"),
        ("s:///${X:-a%20b%24}", "/a b$"),
        ("s:///${SET:-a}", "/set"),
        ("s:///${EMPTY:-a}", "/a"),
        ("s:///${EMPTY}", "/"),
        ("s:///$$", "/$"),
        ("s:///$${SET}", "/${SET}"),
        ("s:///$$$$", "/$$"),
        ("s:///$$${SET}", "/$set"),
        ("s:///%24{SET}", "/${SET}"),
        ("s:///${SET}${SET}", "/setset"),
        ("s:///${REF}", "/${SET}%41"),
    ],
)
def test_references_are_replaced_once_and_only_where_written_as_such(text: str, path: str) -> None:
    environ = {"SET": "set", "EMPTY": "", "REF": "${SET}%41"}
    assert parse_url(text, environ=environ).path == path


def test_a_default_may_hold_the_delimiters_of_a_url() -> None:
    parsed = parse_url("s://${U:-a@b:c}:${P:-d/e?f&g}@${H:-[h]}/x?o=${O:-1&p=2}", environ={})
    assert parsed == BackendURL("s", "a@b:c", "d/e?f&g", "[h]", None, "/x", {"o": "1&p=2"})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="needs the environment variable REDIS_PASSWORD, which is not set"):
        parse_url("redis://:${REDIS_PASSWORD}@h", environ={})


def test_many_references_in_a_malformed_address_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="malformed"):
        parse_url("s://" + "${a}" * 5000 + "[", environ={"a": "x"})


def test_text_and_repr_of_a_url_show_its_scheme_only() -> None:
    url = parse_url("s://user:word@host:1/path?region=value", environ={})
    assert (str(url), repr(url)) == ("s://…", "BackendURL(scheme='s')")
