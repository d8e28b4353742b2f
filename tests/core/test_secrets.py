"""Secrets at every place of a URL, which must not appear in anything that people or logs see."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import SecretStr, field_validator, model_validator

from session_continuity import (
    CONTRACT,
    BackendOptions,
    BackendURL,
    Capabilities,
    Mode,
    Registry,
    SessionContinuityError,
    StorageAdapter,
    parse_options,
    parse_url,
)

CORE = "c4n4ry"


class TalkativeOptions(BackendOptions):
    """Options of a plugin whose errors quote values."""

    address: str = ""
    user: SecretStr | None = None
    password: SecretStr | None = None
    tokens: list[SecretStr] | None = None
    size: int = 0
    quoting: str = ""
    failing: str = ""

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        stated = {"address": url.host, "user": url.user, "password": url.password}
        return {**stated, "size": int(url.path[1:] or 0)}

    @field_validator("quoting")
    @classmethod
    def _quotes(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value} and {value!r} are wrong")
        return value

    @field_validator("failing")
    @classmethod
    def _fails(cls, value: str) -> str:
        return {"": ""}[value]


class TalkativePlugin:
    scheme = "talk"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"blocking"})
    options = TalkativeOptions

    def capabilities(self, options: TalkativeOptions) -> Capabilities:
        del options
        return Capabilities()

    def create(self, options: TalkativeOptions, mode: Mode) -> StorageAdapter:
        raise ImportError(f"no driver for {options!r} in {mode} mode", name="driver")


def registry(variables: dict[str, str]) -> Registry:
    made = Registry(entry_points=lambda _: [], environ=variables)
    made.register_backend(TalkativePlugin())
    return made


def errors_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that are chained to it, those that `from None` hides included."""
    if error is not None:
        yield error
        yield from errors_of(error.__cause__)
        yield from errors_of(error.__context__)


def logged(error: BaseException) -> str:
    stream = StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("failed: %s", error, exc_info=error)
    return stream.getvalue()


def said_of(error: BaseException) -> Iterator[str]:
    for each in errors_of(error):
        yield from (str(each), repr(each), repr(each.args), repr(vars(each)))
        yield pickle.dumps(each.args).decode(errors="replace")
    yield "".join(traceback.format_exception(error))
    yield logged(error)


def shown(text: str, variables: dict[str, str]) -> Iterator[str]:
    """Everything that is shown of this URL and its options if nothing fails."""
    try:
        url = parse_url(text, environ=variables)
        yield from (str(url), repr(url), f"{url}", url.redacted(TalkativeOptions))
        options = TalkativeOptions.from_url(url)
        yield from (str(options), repr(options), options.model_dump_json(), repr(options.model_dump()))
    except SessionContinuityError:
        return


def failures(text: str, variables: dict[str, str]) -> Iterator[str]:
    """The texts of the errors of opening this URL and of showing it."""
    made = registry(variables)
    for attempt in (made.redacted, lambda given: made.create(given, "blocking")):
        try:
            attempt(text)
        except SessionContinuityError as error:
            yield from said_of(error)


SECRET_PLACES = [
    "talk://:{}@h:1/0",
    "talk://u:{}@h:1/0",
    "talk://{}@h:1/0",
    "talk://{}:{}@h",
    "talk://h/0?password={}",
    "talk://h/0?tokens={}&tokens={}",
    "talk://h/0?namespace=n&mystery={}",
    "talk://h/0?{}=1",
    "talk://h/0?pasword={}",
    "talk://u:{}@h/nonsense",
    "talk://u:{}@h:port",
    "talc://u:{}@h",
    "redis://u:{}@h",
    "unheard-of://u:{}@h?password={}",
    "talk:/u:{}@h",
    "u:{}@h:1",
    "{}",
]
PLAIN_PLACES = ["talk://h/{}", "talk://h/0?size={}", "talk://h/0?quoting={}", "talk://h/0?failing={}"]
DEFAULTS = ["talk://u:${{MISSING}}{}@h", "talk://u:${{MISSING:-{}}}@h", "talk://u:${{MISSING:-{}@h"]

delimiters = st.sampled_from([*":@/?#%[]$&=+ \n", "%41", "%ff", "$$"])
secrets = st.lists(delimiters | st.text(max_size=3), max_size=4).map(
    lambda pieces: CORE + "".join(piece + CORE for piece in pieces)
)


@pytest.mark.parametrize("place", SECRET_PLACES + DEFAULTS)
@settings(max_examples=25)
@given(secret=secrets)
@example(secret=CORE)
@example(secret=f"{CORE}%ff{CORE}")
@example(secret=f"{CORE}?{CORE}={CORE}")
@example(secret=f"{CORE}/{CORE}")
def test_a_secret_written_into_a_url_is_never_echoed(place: str, secret: str) -> None:
    text = place.format(secret, secret)
    for said in (*shown(text, {}), *failures(text, {})):
        assert CORE not in said.lower()


@pytest.mark.parametrize("place", SECRET_PLACES)
@settings(max_examples=25)
@given(secret=secrets)
@example(secret=CORE)
def test_a_secret_from_a_variable_is_never_echoed(place: str, secret: str) -> None:
    text, variables = place.format("${V}", "${V}"), {"V": secret}
    for said in (*shown(text, variables), *failures(text, variables)):
        assert CORE not in said.lower()


@pytest.mark.parametrize("place", PLAIN_PLACES)
@settings(max_examples=25)
@given(secret=secrets)
@example(secret=CORE)
@example(secret=f"{CORE}%ff{CORE}")
def test_errors_do_not_quote_a_plain_value_either(place: str, secret: str) -> None:
    for said in failures(place.format(secret), {}):
        assert CORE not in said.lower()


@pytest.mark.parametrize("place", ["talk://h:{}", *PLAIN_PLACES])
@settings(max_examples=25)
@given(secret=secrets)
@example(secret=CORE)
def test_errors_do_not_quote_a_plain_value_either_from_a_variable(place: str, secret: str) -> None:
    for said in failures(place.format("${V}"), {"V": secret}):
        assert CORE not in said.lower()


def test_a_secret_of_a_constructor_is_never_echoed() -> None:
    with pytest.raises(SessionContinuityError) as caught:
        parse_options(TalkativeOptions, {"size": CORE, "quoting": CORE, "tokens": CORE}, scheme="talk")
    assert all(CORE not in said.lower() for said in said_of(caught.value))


@pytest.mark.parametrize("secret", [CORE, SecretStr(CORE)])
def test_a_secret_in_a_list_is_not_quoted_by_a_model_validator(secret: str | SecretStr) -> None:
    class Quoting(TalkativeOptions):
        @model_validator(mode="after")
        def _whole(self) -> Quoting:
            raise ValueError(f"no to {[token.get_secret_value() for token in self.tokens or ()]}")

    with pytest.raises(SessionContinuityError, match=r"talk: no to \['\*\*\*'\]") as caught:
        parse_options(Quoting, {"tokens": [secret]}, scheme="talk")
    assert all(CORE not in said.lower() for said in said_of(caught.value))


def test_a_secret_that_is_shown_on_purpose_is_found() -> None:
    assert any(CORE in said for said in shown(f"talk://{CORE}", {}))
    error = SessionContinuityError("outer")
    error.__context__ = KeyError(CORE)
    error.__suppress_context__ = True
    assert any(CORE in said for said in said_of(error))
