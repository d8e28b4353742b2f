"""Durable conversations for AI agents: one contract, any store, chosen by a URL.

The names below are the public interface. Each is imported when first used, so that `import session_continuity`
loads neither a driver nor a plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from session_continuity._version import __version__

if TYPE_CHECKING:
    from session_continuity.adapter import (
        MAX_PAGE,
        MESSAGE_FIELDS,
        SESSION_FIELDS,
        Appended,
        HealthStatus,
        MessageQuery,
        Patch,
        SessionFilter,
        StorageAdapter,
        is_repeated_append,
        is_repeated_create,
    )
    from session_continuity.blocking import SessionManager, Storage, open_storage
    from session_continuity.capabilities import Capabilities
    from session_continuity.compression import CompressionResult, CompressionStrategy, Summarizer
    from session_continuity.config import BackendOptions, BackendURL, parse_options, parse_url
    from session_continuity.context import BudgetReport, CompressionReport, ConversationContext
    from session_continuity.errors import (
        CompressionError,
        ConcurrencyError,
        ConfigError,
        HandoffError,
        MessageNotFoundError,
        MessageTooLargeError,
        NotSupportedError,
        PluginError,
        SessionClosedError,
        SessionContinuityError,
        SessionExistsError,
        SessionNotFoundError,
        StorageClosedError,
        StorageError,
        ThrottledError,
        TokenBudgetExceededError,
        UnavailableError,
        ValidationError,
        WouldSuspendError,
    )
    from session_continuity.events import (
        AgentHandoff,
        BudgetExceeded,
        CompressionApplied,
        ErrorOccurred,
        Event,
        MessageAdded,
        MessageDeleted,
        MessageUpdated,
        ParticipantJoined,
        ParticipantLeft,
        SessionCreated,
        SessionDeleted,
        SessionEnded,
        SessionExpired,
        SessionUpdated,
    )
    from session_continuity.hookspecs import hookimpl
    from session_continuity.ids import minted_at, move_to
    from session_continuity.manager import AsyncSessionManager, open_async_storage
    from session_continuity.models import (
        CompressionConfig,
        CompressionState,
        Content,
        ContentBlock,
        Handoff,
        Message,
        MessageMetadata,
        NewMessage,
        Participant,
        Role,
        Session,
        SessionMetadata,
        SessionStatus,
        TokenBudget,
        ToolCall,
        ToolResult,
        format_timestamp,
    )
    from session_continuity.paging import Page, decode_cursor, encode_cursor
    from session_continuity.plugin import CONTRACT, BackendPlugin
    from session_continuity.registry import Registry, default_registry
    from session_continuity.runtime import Clock, Mode, Portal, Wire, run_now, sleeper, utc_now, wire_for
    from session_continuity.tokens import TokenCounter, estimate_tokens

_HOMES = {
    "adapter": (
        "MAX_PAGE MESSAGE_FIELDS SESSION_FIELDS Appended HealthStatus MessageQuery Patch SessionFilter StorageAdapter "
        "is_repeated_append is_repeated_create"
    ),
    "blocking": "SessionManager Storage open_storage",
    "capabilities": "Capabilities",
    "compression": "CompressionResult CompressionStrategy Summarizer",
    "config": "BackendOptions BackendURL parse_options parse_url",
    "context": "BudgetReport CompressionReport ConversationContext",
    "errors": (
        "CompressionError ConcurrencyError ConfigError HandoffError MessageNotFoundError MessageTooLargeError "
        "NotSupportedError PluginError SessionClosedError SessionContinuityError SessionExistsError "
        "SessionNotFoundError StorageClosedError StorageError ThrottledError TokenBudgetExceededError "
        "UnavailableError ValidationError WouldSuspendError"
    ),
    "events": (
        "AgentHandoff BudgetExceeded CompressionApplied ErrorOccurred Event MessageAdded MessageDeleted "
        "MessageUpdated ParticipantJoined ParticipantLeft SessionCreated SessionDeleted SessionEnded SessionExpired "
        "SessionUpdated"
    ),
    "hookspecs": "hookimpl",
    "ids": "minted_at move_to",
    "manager": "AsyncSessionManager open_async_storage",
    "models": (
        "CompressionConfig CompressionState Content ContentBlock Handoff Message MessageMetadata NewMessage "
        "Participant Role Session SessionMetadata SessionStatus TokenBudget ToolCall ToolResult format_timestamp"
    ),
    "paging": "Page decode_cursor encode_cursor",
    "plugin": "CONTRACT BackendPlugin",
    "registry": "Registry default_registry",
    "runtime": "Clock Mode Portal Wire run_now sleeper utc_now wire_for",
    "tokens": "TokenCounter estimate_tokens",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_HOME_OF)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'session_continuity' has no attribute {name!r}")
    value = getattr(import_module(f"session_continuity.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
