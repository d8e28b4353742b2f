"""Options of a backend: from a URL and from arguments, with errors that name the option and never its value."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator

from session_continuity import BackendOptions, BackendURL, ConfigError, parse_options, parse_url
from session_continuity.backends.url import is_free_of_secrets


class StoreOptions(BackendOptions):
    """A made-up backend's options, of each type that a URL can have."""

    host: str = "localhost"
    port: int = 1
    password: SecretStr | None = None
    region: str = "eu"
    timeout: float = Field(default=1.0, gt=0)
    tags: list[str] = Field(default_factory=list)
    zones: frozenset[str] | None = None
    tls: bool = False

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        parts = {"host": url.host or None, "port": url.port, "password": url.password}
        return {name: value for name, value in parts.items() if value is not None}


def options(text: str, **variables: str) -> StoreOptions:
    return StoreOptions.from_url(parse_url(text, environ=variables))


def test_options_take_the_types_of_their_model() -> None:
    found = options("s://u:${PW}@h:7?timeout=2.5&tls=true&region=us&namespace=n", PW="p@:/?#%")
    assert (found.host, found.port, found.timeout, found.tls, found.region, found.namespace) == (
        "h", 7, 2.5, True, "us", "n",
    )  # fmt: skip
    assert found.password is not None
    assert found.password.get_secret_value() == "p@:/?#%"


def test_a_list_option_takes_one_value_or_several() -> None:
    assert options("s://?tags=a").tags == ["a"]
    assert options("s://?tags=a&tags=b").tags == ["a", "b"]
    assert options("s://?zones=a&zones=b").zones == frozenset("ab")


def test_a_repeated_option_that_takes_one_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="s: option region is given 2 times; give it once"):
        options("s://?region=a&region=b")


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"s: unknown option regoin; did you mean region\? Known options: host, "):
        options("s://?regoin=a")


def test_an_option_like_no_other_is_refused_by_its_place() -> None:
    with pytest.raises(ConfigError, match=r"s: option 2 is unknown\. Known options: host, namespace, password"):
        options("s://?region=a&xyzzy=1")


def test_an_option_given_in_address_and_query_is_refused() -> None:
    with pytest.raises(ConfigError, match="option host is given twice, in the address and in the query"):
        options("s://h?host=h")


def test_every_wrong_option_is_named_with_what_it_should_be() -> None:
    with pytest.raises(ConfigError) as caught:
        options("s://h:5?timeout=0&tls=perhaps")
    assert "option timeout: must be greater than 0" in str(caught.value)
    assert "option tls: must be true or false" in str(caught.value)


@pytest.mark.parametrize("part", ["user@", ":password@", "host", ":80", "/path"])
def test_a_meaningless_part_of_the_address_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match=r"a s:// URL has no (user|password|host|port|path); write s://\?option="):
        BackendOptions.from_url(parse_url("s://" + part, environ={}))


class CheckedOptions(BackendOptions):
    """Options with validators that have their own messages."""

    level: str = "low"
    other: str = ""
    kind: Literal["first", "second"] = "first"

    @field_validator("level")
    @classmethod
    def _known(cls, level: str) -> str:
        if level == "bug":
            raise KeyError(level)
        if level not in ("low", "high"):
            raise ValueError(f"{level.lower()} is not a level" if len(level) > 8 else "choose low or high")
        return level

    @model_validator(mode="after")
    def _together(self) -> CheckedOptions:
        if self.level == "high" and not self.other:
            raise ValueError("level=high needs the option other")
        if self.other == "aws":
            raise ConfigError("keys do not belong into a URL; use the credential chain")
        return self


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("level=mid", "s: option level: choose low or high"),
        ("level=middle", "s: option level: choose low or high"),
        ("level=Middle-High", "s: option level: *** is not a level"),
        ("level=high", "s: level=*** needs the option other"),
        ("kind=SECOND", "s: option kind: must be in lower case: 'second'"),
        ("kind=third", "s: option kind: must be 'first' or 'second'"),
        ("other=aws", "keys do not belong into a URL; use the credential chain"),
    ],
)
def test_a_plugins_message_is_passed_on_without_the_value(query: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CheckedOptions.from_url(parse_url(f"s://?{query}", environ={}))
    assert str(caught.value) == message


def test_a_failing_check_of_a_plugin_is_located_without_its_message() -> None:
    with pytest.raises(ConfigError, match=r"^s: the plugin's check .* failed with KeyError at test_options.py:\d+$"):
        CheckedOptions.from_url(parse_url("s://?level=bug", environ={}))


def test_options_of_a_constructor_are_checked_like_those_of_a_url() -> None:
    with pytest.raises(ConfigError, match="s: option port: must be a whole number"):
        parse_options(StoreOptions, {"port": "many"}, scheme="s")
    assert parse_options(StoreOptions, {"port": 5}, scheme="s").port == 5


def test_options_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        options("s://").region = "x"


def test_a_namespace_has_a_maximum_length() -> None:
    assert options("s://?namespace=" + "n" * 128).namespace == "n" * 128
    with pytest.raises(ConfigError, match="option namespace: must have at most 128 characters"):
        options("s://?namespace=" + "n" * 129)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s://user:word@h:1/p?region=eu", "s://***:***@h:1/p?region=eu"),
        ("s://user@h", "s://***@h"),
        ("s://[::1]:1", "s://[::1]:1"),
        ("s://h/p?password=word", "s://h/p?password=***"),
        ("s://h/p?mystery=word", "s://…"),
        ("s://h?tags=a&tags=b", "s://h?tags=a&tags=b"),
        ("s://h?region=http://user:word@proxy/x", "s://h?region=http://***@proxy/x"),
    ],
)
def test_a_redacted_url_shows_everything_but_secrets(text: str, shown: str) -> None:
    assert parse_url(text, environ={}).redacted(StoreOptions) == shown


class AliasedOptions(BackendOptions):
    """Options with names that pydantic has taken."""

    schema_: str = Field(default="public", alias="schema")
    copy_: SecretStr | None = Field(default=None, alias="copy")


def test_an_option_may_have_a_name_that_pydantic_has_taken() -> None:
    made = AliasedOptions.from_url(parse_url("s://?schema=chat&copy=word", environ={}))
    assert made.schema_ == "chat"
    assert made.copy_ is not None
    assert parse_url("s://?schema=chat&copy=word", environ={}).redacted(AliasedOptions) == "s://?schema=chat&copy=***"
    with pytest.raises(ConfigError, match=r"unknown option schem; did you mean schema\?"):
        AliasedOptions.from_url(parse_url("s://?schem=chat", environ={}))
    with pytest.raises(ConfigError, match="the fields are namespace, schema, copy"):
        parse_options(AliasedOptions, {"other": 1}, scheme="s")


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("s://user:${WORD}@h", True),
        ("s://${WORD}@h", True),
        ("s://h?password=${WORD}", True),
        ("s://user:${WORD}@h:${PORT}?region=eu", True),
        ("s://user:${WORD:-word}@h", False),
        ("s://user:wo${WORD}@h", False),
        ("s://user:$$word@h", False),
        ("s://user@${HOST}", False),
        ("s://u:${WORD}@h?password=word", False),
        ("s://u:${WORD}@h?region=http://user:word@proxy", False),
        ("s://u:${WORD}@h?mystery=word", False),
    ],
)
def test_a_url_that_takes_all_its_secrets_from_variables_is_free_of_them(text: str, free: bool) -> None:
    assert is_free_of_secrets(text, StoreOptions) is free
