"""Faults: the suite finds the server of a store, breaks its connections, and cancels calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from session_continuity import BackendOptions
from session_continuity_conformance.cases import Case
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.examples import examples
from session_continuity_conformance.faults.cancellation import Moment, interrupt
from session_continuity_conformance.faults.endpoints import Endpoint, address_in, endpoint_of, hurried
from session_continuity_conformance.mutants.registry import open_store_of
from session_continuity_conformance.options import MODES, ModeName
from session_continuity_conformance.reference.networked import NetworkedStorage, NetworkedTarget
from session_continuity_conformance.store_fixture import NotApplicableError
from session_continuity_conformance.target import Target

CANCELLATION = {f"SC-FLT-00{number}" for number in range(1, 6)}
INTERRUPTS = {"SC-FLT-013", "SC-FLT-014", "SC-FLT-015"}
"""Of blocking calls alone."""


@pytest.mark.parametrize("mode", MODES)
def test_reference_behind_a_server_keeps_every_clause_on_its_wire(mode: ModeName) -> None:
    names = {name for name in examples() if name.startswith("SC-FLT")}
    kept: set[str] = set()
    with open_store_of(NetworkedStorage) as target:
        for name in names:
            for proof in examples()[name]:
                with suppress(NotApplicableError):
                    proof(Case(target, mode), all_clauses()[name])
                    kept.add(name)
    assert names - kept == (CANCELLATION | INTERRUPTS if mode == "async" else CANCELLATION)


class Bypassed(NetworkedTarget):
    """A store whose client gets another address from its server."""

    def endpoint(self) -> Endpoint:
        return replace(super().endpoint(), through=lambda *_: self)


def test_client_that_goes_past_the_proxy_is_told() -> None:
    with open_store_of(NetworkedStorage) as target:
        refused_as_not_applicable(Bypassed(NetworkedStorage, world=target.world), "the client does not use the proxy")


def test_encrypted_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "session_continuity_conformance.faults.proxy._TLS", b"0000"
    )  # how the reference's requests begin
    with open_store_of(NetworkedStorage) as target:
        refused_as_not_applicable(target, "the connection is encrypted")


def refused_as_not_applicable(target: Target, reason: str) -> None:
    (proof,) = examples()["SC-FLT-011"]
    with pytest.raises(NotApplicableError, match=reason):
        proof(Case(target, "blocking"), all_clauses()["SC-FLT-011"])


class Options(BackendOptions):
    host: str = "localhost"
    port: int = 7000
    endpoint_url: str | None = None
    timeout: float = 5.0
    read_timeout: float | None = None
    connect_timeout: str = "5s"
    retries: int = 9


class Portless(BackendOptions):
    endpoint_url: str | None = None


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        ("s://127.0.0.1:6000/0?a=1", "s://h:1/0?a=1"),
        ("s://user:word@localhost:6000", "s://user:word@h:1"),
        ("s://localhost", "s://h:1"),
        ("s://[::1]:6000/x", "s://h:1/x"),
        ("s://table?endpoint_url=http://127.0.0.1:8000&b=2", "s://table?endpoint_url=http://h:1&b=2"),
        ("s://table?a=1&endpoint_url=http%3A%2F%2Flocalhost%3A8000/", "s://table?a=1&endpoint_url=http://h:1/"),
        ("s://project?emulator_host=127.0.0.1:8080", "s://project?emulator_host=h:1"),
    ],
)
def test_address_in_a_url_is_moved(url: str, moved: str) -> None:
    address = address_in(url, Options)
    assert address is not None
    assert address.at("h", 1) == moved


@pytest.mark.parametrize(
    "url",
    [
        "s://db.example.org:6000/0",
        "s:///file.db",
        "s://table?endpoint_url=https://127.0.0.1:8000",
        "s://table?endpoint_url=http://db.example.org:8000",
        "s://user@${HOST}:6000",
        "s://",
    ],
)
def test_store_elsewhere_is_left_alone(url: str) -> None:
    assert address_in(url, Options) is None


def test_host_without_a_port_is_no_address_where_there_is_no_default() -> None:
    assert address_in("s://localhost", Portless) is None


def test_timeouts_are_short_where_they_can_be_set() -> None:
    assert hurried("s://h?read_timeout=9", Options) == ("s://h?read_timeout=9&timeout=0.5&retries=1", 20.0)
    assert hurried("s://h", Options) == ("s://h?timeout=0.5&read_timeout=0.5&retries=1", 20.0)
    assert hurried("s://h", Portless) == ("s://h", 60.0)


def test_endpoint_opens_the_store_by_another_address() -> None:
    opened_at: list[str] = []
    endpoint = endpoint_of("s://localhost:6000", Options, opened_at.append)  # type: ignore[arg-type]
    assert endpoint is not None
    assert (endpoint.host, endpoint.port) == ("localhost", 6000)
    endpoint.through("h", 1)
    assert opened_at == ["s://h:1?timeout=0.5&read_timeout=0.5&retries=1"]
    assert endpoint_of("s:///file.db", Options, opened_at.append) is None  # type: ignore[arg-type]


async def three_waits(did: list[str]) -> str:
    await asyncio.sleep(0)
    did.append("first")
    await asyncio.sleep(0.001)
    did.append("second")
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ready.set_result, "third")
    did.append(await ready)
    return "done"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("wait", "reached", "expected"),
    [
        (1, True, []),
        (2, True, ["first"]),
        (3, True, ["first", "second"]),
        (4, False, ["first", "second", "third"]),
    ],
)
def test_call_is_cancelled_at_the_wait_chosen(wait: int, reached: bool, expected: list[str], late: bool) -> None:
    did: list[str] = []
    outcome = asyncio.run(interrupt(three_waits(did), Moment(wait, late)))
    assert (did, outcome.reached, outcome.cancelled) == (expected, reached, reached)


def test_late_cancellation_comes_after_what_was_awaited() -> None:
    order: list[str] = []

    async def call(late: bool) -> None:
        done = asyncio.ensure_future(work())
        try:
            await done
        finally:
            order.append(f"cancelled, {late=}")

    async def work() -> None:
        await asyncio.sleep(0)
        order.append("work is done")

    for late in (False, True):
        assert asyncio.run(interrupt(call(late), Moment(1, late))).cancelled
    assert order == ["cancelled, late=False", "work is done", "cancelled, late=True"]


def test_swallowed_cancellation_is_seen() -> None:
    async def swallow() -> str:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return "an answer"
        return "another"

    outcome = asyncio.run(interrupt(swallow(), Moment(1, late=False)))
    assert (outcome.reached, outcome.cancelled, outcome.error) == (True, False, None)


def test_call_that_never_ends_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_continuity_conformance.faults.cancellation.PATIENCE", 0.05)

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(0.2)
                return
            except asyncio.CancelledError:
                continue

    with pytest.raises(ViolationError, match="it goes on"):
        asyncio.run(interrupt(stubborn(), Moment(1, late=False)))
