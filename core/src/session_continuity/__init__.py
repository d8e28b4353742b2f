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
        MAX_PAGE as MAX_PAGE,
        MESSAGE_FIELDS as MESSAGE_FIELDS,
        SESSION_FIELDS as SESSION_FIELDS,
        Appended as Appended,
        ConversationPage as ConversationPage,
        HealthStatus as HealthStatus,
        MessageQuery as MessageQuery,
        Patch as Patch,
        SessionFilter as SessionFilter,
        StorageAdapter as StorageAdapter,
        check_limit as check_limit,
        check_turn as check_turn,
        conversation_of as conversation_of,
        is_repeated_append as is_repeated_append,
        is_repeated_create as is_repeated_create,
    )
    from session_continuity.blocking import (
        SessionManager as SessionManager,
    )
    from session_continuity.bridge import (
        for_async as for_async,
    )
    from session_continuity.capabilities import (
        Capabilities as Capabilities,
    )
    from session_continuity.compression import (
        CompressionPlan as CompressionPlan,
        CompressionResult as CompressionResult,
        CompressionStrategy as CompressionStrategy,
        Summarizer as Summarizer,
    )
    from session_continuity.config import (
        URL_VARIABLE as URL_VARIABLE,
        BackendOptions as BackendOptions,
        BackendURL as BackendURL,
        parse_options as parse_options,
        parse_url as parse_url,
    )
    from session_continuity.context import (
        BudgetReport as BudgetReport,
        CompressionReport as CompressionReport,
        ConversationContext as ConversationContext,
    )
    from session_continuity.errors import (
        CompressionError as CompressionError,
        ConcurrencyError as ConcurrencyError,
        ConfigError as ConfigError,
        HandoffError as HandoffError,
        MessageNotFoundError as MessageNotFoundError,
        MessageTooLargeError as MessageTooLargeError,
        NotSupportedError as NotSupportedError,
        PluginError as PluginError,
        SessionClosedError as SessionClosedError,
        SessionContinuityError as SessionContinuityError,
        SessionExistsError as SessionExistsError,
        SessionNotFoundError as SessionNotFoundError,
        StorageClosedError as StorageClosedError,
        StorageError as StorageError,
        ThrottledError as ThrottledError,
        TokenBudgetExceededError as TokenBudgetExceededError,
        UnavailableError as UnavailableError,
        ValidationError as ValidationError,
        WouldSuspendError as WouldSuspendError,
    )
    from session_continuity.events import (
        AgentHandoff as AgentHandoff,
        BudgetExceeded as BudgetExceeded,
        CompressionApplied as CompressionApplied,
        ErrorOccurred as ErrorOccurred,
        Event as Event,
        MessageAdded as MessageAdded,
        MessageDeleted as MessageDeleted,
        MessageUpdated as MessageUpdated,
        ParticipantJoined as ParticipantJoined,
        ParticipantLeft as ParticipantLeft,
        SessionCreated as SessionCreated,
        SessionDeleted as SessionDeleted,
        SessionEnded as SessionEnded,
        SessionExpired as SessionExpired,
        SessionUpdated as SessionUpdated,
    )
    from session_continuity.hookspecs import (
        hookimpl as hookimpl,
    )
    from session_continuity.ids import (
        minted_at as minted_at,
        move_to as move_to,
    )
    from session_continuity.manager import (
        AsyncSessionManager as AsyncSessionManager,
    )
    from session_continuity.models import (
        CompressionConfig as CompressionConfig,
        CompressionState as CompressionState,
        Content as Content,
        ContentBlock as ContentBlock,
        Handoff as Handoff,
        Message as Message,
        MessageMetadata as MessageMetadata,
        NewMessage as NewMessage,
        Participant as Participant,
        Role as Role,
        Session as Session,
        SessionMetadata as SessionMetadata,
        SessionStatus as SessionStatus,
        TokenBudget as TokenBudget,
        ToolCall as ToolCall,
        ToolResult as ToolResult,
        format_timestamp as format_timestamp,
    )
    from session_continuity.openai_chat import (
        ChatFormatError as ChatFormatError,
        from_openai as from_openai,
        to_openai as to_openai,
    )
    from session_continuity.paging import (
        Page as Page,
        decode_cursor as decode_cursor,
        encode_cursor as encode_cursor,
    )
    from session_continuity.plugin import (
        CONTRACT as CONTRACT,
        BackendPlugin as BackendPlugin,
        Cost as Cost,
        Probe as Probe,
    )
    from session_continuity.registry import (
        DISABLE_VARIABLE as DISABLE_VARIABLE,
        EXTENSIONS as EXTENSIONS,
        InstalledPlugin as InstalledPlugin,
        Registry as Registry,
        default_registry as default_registry,
    )
    from session_continuity.runtime import (
        Clock as Clock,
        LoopBound as LoopBound,
        Mode as Mode,
        Portal as Portal,
        ThreadWire as ThreadWire,
        Wire as Wire,
        gather as gather,
        run_now as run_now,
        sleeper as sleeper,
        utc_now as utc_now,
        wire_for as wire_for,
    )
    from session_continuity.storage import (
        Storage as Storage,
        open_async_storage as open_async_storage,
        open_storage as open_storage,
    )
    from session_continuity.tokens import (
        TokenCounter as TokenCounter,
        estimate_tokens as estimate_tokens,
    )

_HOMES = {
    "adapter": (
        "MAX_PAGE MESSAGE_FIELDS SESSION_FIELDS Appended ConversationPage HealthStatus MessageQuery Patch "
        "SessionFilter StorageAdapter check_limit check_turn conversation_of is_repeated_append is_repeated_create"
    ),
    "blocking": "SessionManager",
    "bridge": "for_async",
    "capabilities": "Capabilities",
    "compression": "CompressionPlan CompressionResult CompressionStrategy Summarizer",
    "config": "URL_VARIABLE BackendOptions BackendURL parse_options parse_url",
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
    "manager": "AsyncSessionManager",
    "models": (
        "CompressionConfig CompressionState Content ContentBlock Handoff Message MessageMetadata NewMessage "
        "Participant Role Session SessionMetadata SessionStatus TokenBudget ToolCall ToolResult format_timestamp"
    ),
    "openai_chat": "ChatFormatError from_openai to_openai",
    "paging": "Page decode_cursor encode_cursor",
    "plugin": "CONTRACT BackendPlugin Cost Probe",
    "registry": "InstalledPlugin EXTENSIONS DISABLE_VARIABLE Registry default_registry",
    "runtime": "Clock LoopBound Mode Portal ThreadWire Wire gather run_now sleeper utc_now wire_for",
    "storage": "Storage open_async_storage open_storage",
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
