"""The hooks that an extension may implement. Extensions are pluggy plugins found through the entry-point group
`session_continuity.extensions`; the plugin object of a backend may implement hooks too. All names start with `sc_`.

An implementation may take fewer arguments than its specification. Later versions only add arguments and hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from session_continuity.backends.url import BackendURL
from session_continuity.contract.adapter import StorageAdapter

if TYPE_CHECKING:
    from session_continuity.compression.strategies import CompressionStrategy
    from session_continuity.compression.summarizer import Summarizer
    from session_continuity.context.counting import CountingRule, TokenCounter
    from session_continuity.events import Event

__all__ = ["PROJECT", "hookimpl"]

PROJECT = "session_continuity"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def sc_configure_url(url: BackendURL) -> BackendURL | None:
    """A URL to use instead of this one, before its options are validated; None to leave it. For secrets from a vault or
    an organisation's defaults. The first result that is not None is used."""


@hookspec
def sc_wrap_adapter(adapter: StorageAdapter) -> StorageAdapter | None:
    """An adapter around this one, as a rule a `ForwardingAdapter`; None to leave it. For tracing, encryption or chaos.
    Wrappers nest, the last one registered outermost. A wrapper keeps the contract and declares its own
    `capabilities`."""


@hookspec(firstresult=True)
def sc_token_counter(model: str) -> TokenCounter | CountingRule | None:
    """A function that counts the tokens of a text for this model, or a rule that also says what the frame of a message
    and an image cost. Called when a manager gets a model's name as `token_counter`, before core looks the name up."""


@hookspec
def sc_compression_strategies() -> Mapping[str, CompressionStrategy]:  # type: ignore[empty-body]
    """Compression strategies by name. A name that exists already is an error."""


@hookspec(firstresult=True)
def sc_summarizer(name: str) -> Summarizer | None:
    """The summarizer of this name. Called when a manager gets a name as `summarizer`."""


@hookspec
def sc_on_event(event: Event) -> None:
    """Observe an event after it happened. Must not block. An error here does not break the write."""


@hookspec
def sc_on_storage_call(backend: str, operation: str, seconds: float, outcome: str) -> None:
    """Observe a call of a store after it ended, for metrics. `operation` is the method of the contract, `outcome` is
    `ok`, an error's `code`, or `cancelled`. It gets no content and no ids. Must not block; an error here is logged and
    never breaks the call. Extensions registered after a store was opened do not observe that store."""


@hookspec
def sc_cli_commands(app: Any) -> None:
    """Add commands to the command line, a `typer.Typer`."""


@hookspec
def sc_conformance_clauses() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Further conformance clauses, each a MUST: an example by its id, which has a prefix of the vendor's own, as in
    ACME-AUDIT-001. An example is a coroutine function whose argument is a
    `session_continuity_conformance.store_fixture.StoreFixture`. Its docstring states the clause, and in a second
    paragraph the remedy."""
