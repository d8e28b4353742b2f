"""The public names and the modules that define them, for type checkers and for `__init__.py`, which reads this file."""

from .backends.backend_plugin import (
    BackendPlugin as BackendPlugin,
    Cost as Cost,
    CostMeter as CostMeter,
    Damager as Damager,
)
from .backends.extensions import DISABLE_VARIABLE as DISABLE_VARIABLE
from .backends.forwarding import ForwardingAdapter as ForwardingAdapter, innermost as innermost
from .backends.hooks import (
    hookimpl as hookimpl,
)
from .backends.installed import EXTENSIONS as EXTENSIONS, InstalledPlugin as InstalledPlugin
from .backends.modes import (
    as_async as as_async,
)
from .backends.observed import CallObserver as CallObserver
from .backends.options import (
    BackendOptions as BackendOptions,
    parse_options as parse_options,
)
from .backends.portable import PortableAdapter as PortableAdapter, portable as portable
from .backends.registry import (
    Registry as Registry,
    default_registry as default_registry,
)
from .backends.storage import (
    Storage as Storage,
    open_async_storage as open_async_storage,
    open_storage as open_storage,
)
from .backends.url import (
    URL_VARIABLE as URL_VARIABLE,
    BackendURL as BackendURL,
    parse_url as parse_url,
)
from .compression.compressor import (
    CompressionResult as CompressionResult,
)
from .compression.strategies import (
    CompressionPlan as CompressionPlan,
    CompressionStrategy as CompressionStrategy,
)
from .compression.summarizer import (
    Summarizer as Summarizer,
)
from .context.counting import (
    CountingRule as CountingRule,
    TokenCounter as TokenCounter,
)
from .context.entries import MessageReport as MessageReport
from .context.estimate import estimate_tokens as estimate_tokens
from .context.images import ImageFormula as ImageFormula
from .context.report import (
    BudgetReport as BudgetReport,
    CompressionReport as CompressionReport,
    ConversationContext as ConversationContext,
)
from .context.rules import ContextOptions as ContextOptions, ContextRules as ContextRules
from .context.unfinished import is_unfinished as is_unfinished
from .contract.adapter import (
    StorageAdapter as StorageAdapter,
)
from .contract.capabilities import (
    Capabilities as Capabilities,
)
from .contract.folding import folded as folded
from .contract.growth import CONTRACT as CONTRACT
from .contract.paging import (
    MAX_PAGE as MAX_PAGE,
    Page as Page,
    decode_cursor as decode_cursor,
    encode_cursor as encode_cursor,
)
from .contract.patch import (
    MESSAGE_FIELDS as MESSAGE_FIELDS,
    SESSION_FIELDS as SESSION_FIELDS,
    Patch as Patch,
)
from .contract.queries import (
    ListingPlace as ListingPlace,
    MessageQuery as MessageQuery,
    SessionFilter as SessionFilter,
    SessionOrder as SessionOrder,
    check_limit as check_limit,
    listing_start as listing_start,
)
from .contract.reading import (
    conversation_of as conversation_of,
)
from .contract.repeats import (
    check_batch as check_batch,
    is_repeated_append as is_repeated_append,
    is_repeated_create as is_repeated_create,
    is_same_tail as is_same_tail,
    messages_to_store as messages_to_store,
    with_stored as with_stored,
)
from .contract.results import (
    Appended as Appended,
    ConversationPage as ConversationPage,
    Fork as Fork,
    HealthStatus as HealthStatus,
    Replaced as Replaced,
)
from .contract.search import (
    SearchTerms as SearchTerms,
    searched_words as searched_words,
)
from .contract.terms import (
    AppendTerms as AppendTerms,
    Existing as Existing,
    check_session_patch as check_session_patch,
    check_terms as check_terms,
)
from .errors import (
    CompressionError as CompressionError,
    ConcurrencyError as ConcurrencyError,
    ConfigError as ConfigError,
    ConversationChangedError as ConversationChangedError,
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
    UnreadableError as UnreadableError,
    ValidationError as ValidationError,
    WouldSuspendError as WouldSuspendError,
)
from .events import (
    AgentHandoff as AgentHandoff,
    BudgetExceeded as BudgetExceeded,
    CompressionApplied as CompressionApplied,
    CompressionFailed as CompressionFailed,
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
from .formats.anthropic import from_anthropic as from_anthropic, to_anthropic as to_anthropic
from .formats.bedrock_converse import (
    from_bedrock_converse as from_bedrock_converse,
    to_bedrock_converse as to_bedrock_converse,
)
from .formats.conversion import (
    Conversion as Conversion,
    Loss as Loss,
    convert as convert,
)
from .formats.gemini import from_gemini as from_gemini, to_gemini as to_gemini
from .formats.openai_chat import (
    ChatFormatError as ChatFormatError,
    from_openai as from_openai,
    to_openai as to_openai,
)
from .formats.openai_responses import (
    from_openai_responses as from_openai_responses,
    to_openai_responses as to_openai_responses,
)
from .formats.recognition import FORMAT_NAMES as FORMAT_NAMES, recognize as recognize
from .formats.ui_messages import from_ui_messages as from_ui_messages, to_ui_messages as to_ui_messages
from .ids import (
    minted_at as minted_at,
    move_to as move_to,
    stable_id as stable_id,
)
from .importing import (
    IMPORTS as IMPORTS,
    ImportedConversation as ImportedConversation,
    ImportSource as ImportSource,
)
from .json_problems import replace_invalid_text as replace_invalid_text
from .manager.arguments import SessionQuery as SessionQuery
from .manager.async_manager import (
    AsyncSessionManager as AsyncSessionManager,
)
from .manager.blocking import (
    SessionManager as SessionManager,
)
from .manager.creation import SessionFields as SessionFields
from .manager.erasure import Erased as Erased, ErasureReceipt as ErasureReceipt
from .manager.options import ManagerOptions as ManagerOptions
from .manager.streaming import AsyncMessageStream as AsyncMessageStream, MessageStream as MessageStream
from .models import (
    CompressionConfig as CompressionConfig,
    CompressionState as CompressionState,
    ForkedFrom as ForkedFrom,
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
    stored_message as stored_message,
)
from .runtime.backoff import backoff as backoff, retry_delays as retry_delays
from .runtime.cache import BoundedCache as BoundedCache
from .runtime.client_calls import (
    CallRunner as CallRunner,
    ThreadRunner as ThreadRunner,
    call_runner as call_runner,
)
from .runtime.clocks import (
    Clock as Clock,
    utc_now as utc_now,
)
from .runtime.connection_pool import ConnectionPool as ConnectionPool, PooledConnection as PooledConnection
from .runtime.gathering import (
    gather as gather,
)
from .runtime.loop_bound import (
    FirstLoop as FirstLoop,
    LoopBound as LoopBound,
)
from .runtime.modes import (
    Mode as Mode,
    run_now as run_now,
    sleeper as sleeper,
)
from .runtime.portal import (
    Portal as Portal,
)
from .runtime.slots import Slots as Slots
from .runtime.turnstile import Turnstile as Turnstile
from .values import (
    Content as Content,
    ContentBlock as ContentBlock,
    format_timestamp as format_timestamp,
)

__version__: str
