"""The portable layer: what core does the same way around every backend."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from traceback import format_exception
from typing import Any

import pytest

from session_continuity import (
    Capabilities,
    ForwardingAdapter,
    HealthStatus,
    NotSupportedError,
    Page,
    PortableAdapter,
    Registry,
    Session,
    SessionContinuityError,
    SessionFilter,
    SessionManager,
    SessionNotFoundError,
    StorageAdapter,
    StorageClosedError,
    StorageError,
    UnavailableError,
    UnreadableError,
    ValidationError,
    WouldSuspendError,
    hookimpl,
    innermost,
    portable,
    run_now,
)
from session_continuity_memory import MemoryStorage

from ..kit.clocks import START
from ..kit.conversations import new_message

OPERATIONS = sorted(name for name, _ in inspect.getmembers(StorageAdapter, inspect.iscoroutinefunction))


class ClientError(Exception):
    """An error of a made-up client library."""


class Failing(MemoryStorage):
    """A store whose client raises `error` in get_session and in health."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        return UnavailableError(f"no connection for {operation}") if isinstance(error, ClientError) else None

    async def get_session(self, session_id: str) -> Session | None:  # noqa: ARG002
        raise self._error

    async def health(self) -> HealthStatus:
        raise self._error


def failure_of(error: Exception) -> BaseException:
    with pytest.raises(SessionContinuityError) as caught:
        run_now(PortableAdapter(Failing(error)).get_session("s"))
    return caught.value


# Errors


def test_an_error_of_the_client_becomes_the_project_s_own_with_its_place() -> None:
    raw = ClientError("secret of the client")
    error = failure_of(raw)
    assert isinstance(error, UnavailableError)
    assert (error.backend, error.operation) == ("memory", "get_session")
    assert str(error) == "memory: get_session: no connection for get_session"
    assert error.__cause__ is raw


def test_an_error_that_the_backend_does_not_translate_is_called_its_bug() -> None:
    error = failure_of(KeyError("content of a message"))
    assert type(error) is StorageError
    assert not error.retryable
    assert str(error).startswith("memory: get_session: unexpected KeyError")
    assert "content of a message" not in str(error)
    assert isinstance(error.__cause__, KeyError)


def test_a_value_that_cannot_be_read_is_not_shown_by_its_error() -> None:
    class Damaged(MemoryStorage):
        async def get_session(self, session_id: str) -> Session | None:  # noqa: ARG002
            return Session.model_validate_json('{"id": "content of a message"}')

    with pytest.raises(UnreadableError, match="memory: get_session: what is stored cannot be read") as caught:
        run_now(portable(Damaged()).get_session("s"))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "content of a message" not in "".join(format_exception(caught.value))


def test_an_error_of_the_project_passes_unchanged_and_gets_its_place() -> None:
    missing, down = SessionNotFoundError("s"), UnavailableError("down")
    assert failure_of(missing) is missing
    assert failure_of(down) is down
    assert str(down) == "memory: get_session: down"


def test_the_place_of_an_error_is_stated_once() -> None:
    inner = UnavailableError("down", backend="redis", operation="append_messages")
    assert str(failure_of(inner)) == "redis: append_messages: down"


def test_async_code_reached_in_blocking_mode_is_still_reported_as_that() -> None:
    with pytest.raises(WouldSuspendError, match="no event loop"):
        run_now(PortableAdapter(Failing(RuntimeError("no running event loop"))).get_session("s"))


def test_health_does_not_raise_for_a_store_that_fails() -> None:
    health = run_now(PortableAdapter(Failing(ClientError())).health())
    assert (health.status, health.details) == ("unhealthy", {"error": "unavailable"})
    assert health.remedy == "memory: health: no connection for health"


# Close, limits and capabilities

CALLS: dict[str, Callable[[StorageAdapter], Any]] = {
    "setup": lambda store: store.setup(),
    "health": lambda store: store.health(),
    "get_session": lambda store: store.get_session("s"),
    "list_sessions": lambda store: store.list_sessions(SessionFilter(), limit=1),
    "append_messages": lambda store: store.append_messages("s", [new_message("a")]),
}


@pytest.mark.parametrize("operation", CALLS)
def test_a_call_after_close_is_refused(operation: str) -> None:
    store = PortableAdapter(MemoryStorage())
    run_now(store.close())
    run_now(store.close())
    with pytest.raises(StorageClosedError, match=f"memory: {operation}: the store is closed"):
        run_now(CALLS[operation](store))


class Limited(MemoryStorage):
    """A store that takes two messages at once and lists no sessions without an owner."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(max_batch=2)
        self.was_asked = False

    async def append_messages(self, *args: Any, **kwargs: Any) -> Any:
        self.was_asked = True
        return await super().append_messages(*args, **kwargs)

    async def list_sessions(self, *args: Any, **kwargs: Any) -> Page[Session]:
        self.was_asked = True
        return await super().list_sessions(*args, **kwargs)


def test_what_a_store_does_not_declare_is_refused_before_it_is_called() -> None:
    store = Limited()
    layer = PortableAdapter(store)
    with pytest.raises(NotSupportedError, match="a batch of 3 messages is not supported by memory: it takes 2 at once"):
        run_now(layer.append_messages("s", [new_message("a"), new_message("b"), new_message("c")]))
    with pytest.raises(NotSupportedError, match="give a user_id or an active_agent_id"):
        run_now(layer.list_sessions(SessionFilter(), limit=1))
    with pytest.raises(ValidationError, match="a batch has at least one message"):
        run_now(layer.append_messages("s", []))
    with pytest.raises(ValidationError, match="same id"):
        run_now(layer.append_messages("s", [new_message("a"), new_message("a")]))
    for limit in (0, 1001):
        with pytest.raises(ValidationError, match="limit must be 1 to 1000"):
            run_now(layer.list_sessions(SessionFilter(user_id="u"), limit=limit))
        with pytest.raises(ValidationError, match="limit must be 1 to 1000"):
            run_now(layer.get_expired_sessions(START, limit=limit))
    assert not store.was_asked


# Wrapping


def test_a_forwarding_adapter_overrides_every_operation_of_the_contract() -> None:
    assert [name for name in OPERATIONS if name not in vars(ForwardingAdapter)] == []
    assert {"clock", "translate"} <= vars(ForwardingAdapter).keys()


def test_a_forwarding_adapter_has_every_attribute_of_the_contract() -> None:
    inner = MemoryStorage()
    wrapper = ForwardingAdapter(inner)
    for name in StorageAdapter.__annotations__:
        assert getattr(wrapper, name) == getattr(inner, name), name


def test_a_replaced_clock_is_the_inner_adapter_s_too() -> None:
    inner = MemoryStorage()
    wrapper = ForwardingAdapter(ForwardingAdapter(inner))
    wrapper.clock = lambda: START
    assert inner.clock() == wrapper.clock() == START


def test_every_call_goes_through_forward_once() -> None:
    class Counting(ForwardingAdapter):
        calls: list[str]

        async def forward(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            self.calls.append(method.__name__)
            return await super().forward(method, *args, **kwargs)

    counting = Counting(MemoryStorage())
    counting.calls = []
    manager = SessionManager(counting)
    manager.add_message(manager.create_session().id, role="user", content="hi")
    assert counting.calls == ["setup", "create_session", "append_messages"]


def test_a_backend_gets_the_layer_once_under_any_number_of_wrappers() -> None:
    store = MemoryStorage()
    layer = portable(store)
    wrapped = ForwardingAdapter(layer)
    assert isinstance(layer, PortableAdapter)
    assert portable(wrapped) is wrapped
    assert portable(layer) is layer
    assert innermost(wrapped) is store


class Small(ForwardingAdapter):
    """A wrapper that declares less than the store inside, and notes what reaches it."""

    def __init__(self, inner: StorageAdapter) -> None:
        super().__init__(inner)
        self.capabilities = Capabilities(max_batch=1)
        self.operations: list[str] = []

    async def forward(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.operations.append(method.__name__)
        return await super().forward(method, *args, **kwargs)


class Shrinking:
    """An extension that puts `Small` around every store."""

    @hookimpl
    def sc_wrap_adapter(self, adapter: StorageAdapter) -> StorageAdapter:
        return Small(adapter)


def test_what_a_wrapper_does_not_declare_is_refused_before_it_is_called() -> None:
    registry = Registry()
    registry.register_extension(Shrinking(), "shrinking")
    opened = registry.create("memory://", "blocking")
    small = Small(portable(MemoryStorage()))
    for store in (opened, portable(small)):
        assert store.capabilities == small.capabilities
        with pytest.raises(NotSupportedError, match="it takes 1 at once"):
            run_now(store.append_messages("s", [new_message("a"), new_message("b")]))
        with pytest.raises(NotSupportedError, match="give a user_id or an active_agent_id"):
            run_now(store.list_sessions(SessionFilter(), limit=1))
    assert small.operations == []
    assert portable(opened) is opened


# Observation


class Metrics:
    """An extension that counts calls of stores."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    @hookimpl
    def sc_on_storage_call(self, backend: str, operation: str, seconds: float, outcome: str) -> None:
        assert seconds >= 0
        self.calls.append((backend, operation, outcome))


def test_an_extension_observes_every_call_with_its_outcome() -> None:
    registry, metrics = Registry(), Metrics()
    registry.register_extension(metrics, "metrics")
    with SessionManager.open("memory://", registry=registry) as manager:
        found = manager.create_session(id="s")
        with pytest.raises(SessionNotFoundError):
            manager.get_session("absent")
        with pytest.raises(SessionNotFoundError):
            manager.add_message("absent", role="user", content="hi")
        assert found.id == "s"
    assert metrics.calls == [
        ("memory", "setup", "ok"),
        ("memory", "create_session", "ok"),
        ("memory", "get_session", "ok"),
        ("memory", "append_messages", "session_not_found"),
        ("memory", "close", "ok"),
    ]


def test_a_storage_that_was_handed_in_is_observed_too() -> None:
    registry, metrics = Registry(), Metrics()
    registry.register_extension(metrics, "metrics")
    manager = SessionManager(MemoryStorage(), registry=registry)
    manager.create_session()
    assert ("memory", "create_session", "ok") in metrics.calls


def test_an_observer_that_fails_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        @hookimpl
        def sc_on_storage_call(self, operation: str) -> None:
            raise RuntimeError(f"cannot count {operation}")

    registry = Registry()
    registry.register_extension(Broken(), "broken")
    with caplog.at_level(logging.ERROR, "session_continuity"), SessionManager.open("memory://", registry=registry) as m:
        assert m.create_session(id="s").id == "s"
    assert "an observer of storage calls failed" in caplog.text
