"""The hooks that an extension may implement. Extensions are pluggy plugins found through the entry-point group
`session_continuity.extensions`; the plugin object of a backend may implement hooks too. All names start with `sc_`.

An implementation may take fewer arguments than its specification. Later versions only add arguments and hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from session_continuity.adapter import StorageAdapter
from session_continuity.config import BackendURL

if TYPE_CHECKING:
    from session_continuity.compression import CompressionStrategy, Summarizer
    from session_continuity.events import Event
    from session_continuity.tokens import TokenCounter

__all__ = ["PROJECT", "hookimpl"]

PROJECT = "session_continuity"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def sc_configure_url(url: BackendURL) -> BackendURL | None:
    """Another URL in place of this one, before its options are validated: secrets from a vault, defaults of an
    organisation. The first answer that is not None counts."""


@hookspec
def sc_wrap_adapter(adapter: StorageAdapter) -> StorageAdapter | None:
    """An adapter around this one: tracing, encryption, chaos. Wrappers nest, the last registered outermost; each
    keeps the contract and declares its own `capabilities`."""


@hookspec(firstresult=True)
def sc_token_counter(model: str) -> TokenCounter | None:
    """How many tokens a text has for this model; asked when a manager gets a model's name as `token_counter`."""


@hookspec
def sc_compression_strategies() -> Mapping[str, CompressionStrategy]:  # type: ignore[empty-body]
    """Compression strategies by name. A name that is taken already is refused."""


@hookspec(firstresult=True)
def sc_summarizer(name: str) -> Summarizer | None:
    """The summarizer of this name; asked when a manager gets a name as `summarizer`."""


@hookspec
def sc_on_event(event: Event) -> None:
    """Observe an event after it happened. Must not block; an error here never breaks the write."""


@hookspec
def sc_cli_commands(app: Any) -> None:
    """Add commands to the command line, a `typer.Typer`."""


@hookspec
def sc_conformance_clauses() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Further conformance clauses, each a MUST: an example by its id, which has a prefix of the vendor's own, as in
    ACME-AUDIT-001. An example is a coroutine function of a `session_continuity_conformance.store.Store`; its docstring
    states the clause, and in a second paragraph the remedy."""
