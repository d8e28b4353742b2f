"""Extensions: found through their entry points, checked against the hook specifications, switched off by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import (
    CONTRACT,
    BackendOptions,
    Capabilities,
    CompressionStrategy,
    Event,
    Mode,
    PluginError,
    Registry,
    SessionManager,
    StorageAdapter,
    hookimpl,
)
from session_continuity.compression.strategies import STRATEGIES, strategies_with
from session_continuity_memory import MemoryStorage

if TYPE_CHECKING:
    from .conftest import Install

COUNTS = """
    from session_continuity import hookimpl

    @hookimpl
    def sc_token_counter(model):
        return len if model == "letters" else None
"""


class Backend:
    scheme = "mine"
    api_version = CONTRACT
    modes = frozenset[Mode]({"blocking"})
    options = BackendOptions

    def capabilities(self, options: BackendOptions) -> Capabilities:
        del options
        return Capabilities()

    def create(self, options: BackendOptions, mode: Mode) -> StorageAdapter:
        return MemoryStorage(namespace=options.namespace, mode=mode)


@pytest.fixture
def registry() -> Registry:
    """A registry that sees one backend and no installed extension."""
    made = Registry(entry_points=lambda _: [], environ={})
    made.register_backend(Backend())
    return made


def installed(disabled: str = "") -> Registry:
    return Registry(environ={"SESSION_CONTINUITY_DISABLE_PLUGINS": disabled})


def test_an_installed_extension_is_loaded_when_a_hook_is_first_called(install: Install) -> None:
    install("counting", extensions={"letters": "letters_extension"}, modules={"letters_extension": COUNTS})
    registry = installed()
    assert registry.hooks.sc_token_counter(model="letters") is len
    assert registry.hooks.sc_token_counter(model="words") is None


def test_an_extension_counts_tokens_for_a_manager(install: Install) -> None:
    install("counting", extensions={"letters": "letters_extension"}, modules={"letters_extension": COUNTS})
    with SessionManager.open("memory://", token_counter="letters", registry=installed()) as manager:
        session = manager.create_session()
        assert manager.add_message(session.id, role="user", content="x" * 500).token_count == 500 + 4  # the frame


@pytest.mark.parametrize("disabled", ["letters", "other, letters", " letters ,"])
def test_a_disabled_extension_is_not_even_imported(install: Install, disabled: str) -> None:
    install("broken", extensions={"letters": "letters_extension"}, modules={"letters_extension": "1 / 0"})
    registry = installed(disabled)
    assert registry.hooks.sc_token_counter(model="letters") is None


def test_extensions_are_listed_without_being_imported(install: Install) -> None:
    install("broken", extensions={"letters": "letters_extension"}, modules={"letters_extension": "1 / 0"})
    install("another", version="2.0", extensions={"digits": "digits_extension"}, modules={"digits_extension": "1 / 0"})
    listed = [(each.name, each.distribution, each.version) for each in installed("letters").installed_extensions()]
    assert listed == sorted(listed)
    assert {("digits", "another", "2.0"), ("letters", "broken", "1.0")} <= set(listed)


@pytest.mark.parametrize(
    ("module", "reason"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("import nothing_like_it", "ModuleNotFoundError: No module")],
)
def test_an_extension_that_cannot_be_imported_is_named_with_a_remedy(
    install: Install, module: str, reason: str
) -> None:
    install("broken", extensions={"letters": "letters_extension"}, modules={"letters_extension": module})
    with pytest.raises(PluginError) as caught:
        installed().create("memory://", "blocking")
    said = str(caught.value)
    assert said.startswith(f"extension letters from broken 1.0 (letters_extension) cannot be imported: {reason}")
    assert said.endswith("; fix it, or set SESSION_CONTINUITY_DISABLE_PLUGINS=letters")


def test_a_misspelt_hook_is_found(install: Install) -> None:
    module = COUNTS.replace("sc_token_counter", "sc_token_countr")
    install("misspelt", extensions={"letters": "letters_extension"}, modules={"letters_extension": module})
    with pytest.raises(PluginError) as caught:
        installed().create("memory://", "blocking")
    said = str(caught.value)
    assert said.startswith("extension letters has wrong hooks: unknown hook 'sc_token_countr'")
    assert said.endswith("; fix it, or set SESSION_CONTINUITY_DISABLE_PLUGINS=letters")


def test_a_hook_with_an_argument_that_does_not_exist_is_found(install: Install) -> None:
    module = COUNTS.replace("(model)", "(model, price)")
    install("misspelt", extensions={"letters": "letters_extension"}, modules={"letters_extension": module})
    with pytest.raises(PluginError, match=r"(?s)extension letters has wrong hooks: .*'price'"):
        installed().create("memory://", "blocking")


def test_a_hook_may_take_fewer_arguments_than_its_specification(registry: Registry) -> None:
    class Fixed:
        @hookimpl
        def sc_token_counter(self) -> Any:
            return len

    registry.register_extension(Fixed())
    assert registry.hooks.sc_token_counter(model="any") is len


def test_an_extension_with_wrong_hooks_leaves_nothing_behind(registry: Registry) -> None:
    class Misspelt:
        @hookimpl
        def sc_token_counter(self, model: str) -> Any:
            return len if model else None

        @hookimpl
        def sc_on_evnt(self, event: Event) -> None: ...

    for _ in range(2):
        with pytest.raises(PluginError, match=r"extension helper has wrong hooks: unknown hook 'sc_on_evnt'.*; fix it"):
            registry.register_extension(Misspelt(), "helper")
    assert registry.hooks.sc_token_counter(model="x") is None

    class Fits:
        @hookimpl
        def sc_token_counter(self, model: str) -> Any:
            return len if model else None

    registry.register_extension(Fits(), "helper")
    assert registry.hooks.sc_token_counter(model="x") is len


def test_an_extension_is_registered_once_under_one_name(registry: Registry) -> None:
    first, second = object(), object()
    registry.register_extension(first, "helper")
    for extension, name in ((second, "helper"), (first, "another name")):
        with pytest.raises(PluginError, match=f"extension {name} is registered already"):
            registry.register_extension(extension, name)
    registry.register_extension(second, "another name")


class Wrapper(MemoryStorage):
    """An adapter around another one, as far as these tests look at it."""

    def __init__(self, name: str, inner: StorageAdapter, mode: Mode = "blocking") -> None:
        super().__init__(mode=mode)
        self.names = [name, *getattr(inner, "names", [])]


class Wrapping:
    def __init__(self, name: str, mode: Mode = "blocking") -> None:
        self._name, self._mode = name, mode

    @hookimpl
    def sc_wrap_adapter(self, adapter: StorageAdapter) -> StorageAdapter:
        return Wrapper(self._name, adapter, self._mode)


def test_wrappers_nest_with_the_last_registered_outermost(registry: Registry) -> None:
    registry.register_extension(Wrapping("first"))
    registry.register_extension(Wrapping("second"))
    assert getattr(registry.create("mine://", "blocking"), "names", None) == ["second", "first"]


def test_an_extension_that_wraps_nothing_leaves_the_adapter_as_it_is(registry: Registry) -> None:
    class Declines:
        @hookimpl
        def sc_wrap_adapter(self) -> None:
            return None

    registry.register_extension(Wrapping("only"))
    registry.register_extension(Declines())
    assert getattr(registry.create("mine://", "blocking"), "names", None) == ["only"]


def test_a_wrapper_of_another_mode_is_refused_by_name(registry: Registry) -> None:
    registry.register_extension(Wrapping("turncoat", "async"), "turncoat")
    with pytest.raises(PluginError, match="extension turncoat changes the mode of the adapter it wraps"):
        registry.create("mine://", "blocking")


def test_strategies_of_extensions_are_added_to_those_of_core(registry: Registry) -> None:
    strategy: Any = object()

    class Offers:
        @hookimpl
        def sc_compression_strategies(self) -> Mapping[str, CompressionStrategy]:
            return {"own": strategy}

    registry.register_extension(Offers())
    assert strategies_with(registry.strategies()) == {**STRATEGIES, "own": strategy}


def test_a_strategy_by_a_name_that_is_taken_is_refused(registry: Registry) -> None:
    class Offers:
        @hookimpl
        def sc_compression_strategies(self) -> Mapping[str, CompressionStrategy]:
            taken: Any = object()
            return {"own": taken, "sliding_window": taken}

    registry.register_extension(Offers(), "rival")
    with pytest.raises(PluginError, match=r"extension rival offers strategies that exist: \['sliding_window'\]"):
        strategies_with(registry.strategies())


def test_observers_see_events_and_a_failing_one_breaks_no_write(registry: Registry) -> None:
    seen: list[str] = []

    class Observes:
        @hookimpl
        def sc_on_event(self, event: Event) -> None:
            seen.append(type(event).__name__)

    class Fails:
        @hookimpl
        def sc_on_event(self, event: Event) -> None:
            if type(event).__name__ == "MessageAdded":
                raise KeyError("a fault of the observer")

    registry.register_extension(Fails(), "failing")
    registry.register_extension(Observes(), "observing")
    with SessionManager.open("mine://", registry=registry) as manager:
        session = manager.create_session()
        manager.add_message(session.id, role="user", content="kept")
        assert [message.content for message in manager.get_messages(session.id)] == ["kept"]
    assert seen[0] == "SessionCreated"
    assert sorted(seen[1:]) == ["ErrorOccurred", "MessageAdded"]
