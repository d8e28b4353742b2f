"""Data models: sessions, messages and their parts.

All models are frozen; `model_copy(update=…)` makes a changed copy. Strings must be encodable as UTF-8 and numbers
finite. Times must have a time zone. They are kept in UTC, cut to milliseconds, and written as
`YYYY-MM-DDTHH:MM:SS.sssZ`.

Types are strict. `bytes` is not accepted as a string, nor `True` or `"3"` as a number, nor a number as a time. None
for a field that has a default and cannot be None means the default.

The default of a list or an object is one that all models share and that refuses every change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, Strict, model_validator

from session_continuity.model_base import Model, OpenModel
from session_continuity.shared import EMPTY_DICT, EMPTY_LIST, FixedSet
from session_continuity.values import (
    MAX_COUNT,
    MAX_MESSAGE_TOKENS,
    MAX_SECONDS,
    CallId,
    Content,
    Id,
    Json,
    JsonObject,
    Text,
    Timestamp,
    Whole,
)

__all__ = [
    "CompressionConfig",
    "CompressionState",
    "ForkedFrom",
    "Handoff",
    "Message",
    "MessageMetadata",
    "NewMessage",
    "Participant",
    "ParticipantRole",
    "Role",
    "Session",
    "SessionMetadata",
    "SessionStatus",
    "TokenBudget",
    "ToolCall",
    "ToolResult",
    "stored_message",
]

HANDOFFS_KEPT = 20

SessionStatus = Literal["active", "paused", "completed", "expired"]
Role = Literal["system", "user", "assistant", "tool"]
ParticipantRole = Literal["user", "agent", "observer"]
OverflowStrategy = Literal["truncate", "compress", "error"]


class ToolCall(Model):
    """A call of a tool by the assistant. `arguments` is JSON text as language models write it, or a dict."""

    id: CallId
    name: Text
    arguments: Annotated[Text | JsonObject, Field(union_mode="left_to_right")] = ""


class ToolResult(Model):
    """A tool's answer to the call `tool_call_id`."""

    tool_call_id: CallId
    result: Json = None
    name: Text | None = None
    is_error: Annotated[bool, Strict()] = False


Open = TypeVar("Open", bound=OpenModel)


def _protect(model: Open) -> Open:
    """The model, whose further keys and set of fields now refuse changes as its defaults do."""
    object.__setattr__(model, "__pydantic_extra__", EMPTY_DICT)
    object.__setattr__(model, "__pydantic_fields_set__", FixedSet())
    return model


class MessageMetadata(OpenModel):
    """A message's tool calls and results. `annotations` and further keys hold any JSON of the caller's."""

    tool_calls: list[ToolCall] = EMPTY_LIST
    tool_results: list[ToolResult] = EMPTY_LIST
    annotations: JsonObject = EMPTY_DICT


class SessionMetadata(OpenModel):
    """An application's notes on a session. A listing can be filtered by `tags`."""

    title: Text | None = None
    tags: list[Text] = EMPTY_LIST
    source: Text | None = None
    custom: JsonObject = EMPTY_DICT


_NO_MESSAGE_METADATA = _protect(MessageMetadata())
_NO_SESSION_METADATA = _protect(SessionMetadata())
"""Shared by all sessions without metadata, as the other is by all messages without any: most have none."""


class TokenBudget(Model):
    """A limit on a conversation's tokens: `max_tokens` in total, of which `reserve_tokens` are left for the answer.

    `overflow_strategy` says what happens above the limit. `truncate` leaves old messages out of the context.
    `compress` replaces them by a summary. `error` makes the store refuse an append that would exceed the limit.

    A number in place of a budget is its `max_tokens`.
    """

    short_form: ClassVar[str] = "a number of tokens"
    max_tokens: Whole = Field(le=MAX_COUNT, gt=0)
    reserve_tokens: Whole = Field(le=MAX_COUNT, default=0, ge=0)
    overflow_strategy: OverflowStrategy = "truncate"

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"max_tokens": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check_reserve(self) -> Self:
        if self.reserve_tokens >= self.max_tokens:
            raise ValueError("reserve_tokens must be smaller than max_tokens")
        return self

    @property
    def available(self) -> int:
        """The tokens that the messages may use: `max_tokens` without the reserve."""
        return self.max_tokens - self.reserve_tokens

    @property
    def hard_limit(self) -> int | None:
        """The limit that the store enforces on every append, or None for strategies other than `error`."""
        return self.available if self.overflow_strategy == "error" else None


class CompressionConfig(OpenModel):
    """A compression strategy's name and parameters. A plugin's strategy may take further keys.

    Tokens are counted by the manager's token counter. None leaves a parameter to the strategy. A string in place of a
    configuration is the strategy's name.
    """

    short_form: ClassVar[str] = "the name of a strategy"
    strategy: Text
    target_tokens: Whole | None = Field(le=MAX_COUNT, default=None, gt=0)
    min_messages: Whole | None = Field(default=None, ge=0)
    max_messages: Whole | None = Field(default=None, gt=0)
    summarization_prompt: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"strategy": value} if isinstance(value, str) else value


class CompressionState(Model):
    """A cached summary and the messages that it replaces.

    It replaces every message up to the one with the id `covered_until`, which was created at `covered_through`.
    Without system messages these are `covered_messages` messages of `covered_tokens` tokens. `covered_until` is None
    where it replaces none.

    Of later messages up to the time `shortened_through`, the results of tools are shown shortened.
    """

    strategy: Text
    summary: Text | None = None
    summary_token_count: Whole = Field(le=MAX_COUNT, default=0, ge=0)
    covered_until: Id | None = None
    covered_through: Timestamp
    shortened_through: Timestamp | None = None
    covered_messages: Whole = Field(ge=0)
    covered_tokens: Whole = Field(le=MAX_COUNT, ge=0)
    updated_at: Timestamp


class Participant(Model):
    """A person or agent in the conversation. A participant who left is kept, with the time in `left_at`."""

    id: Id
    role: ParticipantRole = "user"
    metadata: JsonObject = EMPTY_DICT
    joined_at: Timestamp
    left_at: Timestamp | None = None


class Handoff(Model):
    """A change of the active agent, with the reason and the context that were passed on."""

    from_agent_id: Id | None = None
    to_agent_id: Id
    reason: Text | None = None
    context: Json = None
    at: Timestamp


class ForkedFrom(Model):
    """Where a fork comes from: the session, and the last of its messages that was copied, None for all of them."""

    session_id: Id
    message_id: Id | None = None


class Session(Model):
    """A conversation.

    `version` starts at 1 and counts `update_session` writes. The store derives `message_count`, `token_count`,
    `last_activity_at` (the last append, or the creation) and `system_message_ids` (in conversation order) from the
    messages. `handoffs` holds the newest 20, oldest first.

    From `expires_at` on the session is gone for every read and write. With `sliding_ttl` (seconds) a manager moves
    `expires_at` to that long after the last message. `forked_from` never changes.

    `creation_token` is a random text of the call that created the session. By it a store recognises the same call when
    it is repeated after its answer was lost.
    """

    id: Id
    user_id: Id | None = None
    active_agent_id: Id | None = None
    status: SessionStatus = "active"
    metadata: SessionMetadata = _NO_SESSION_METADATA
    participants: list[Participant] = EMPTY_LIST
    handoffs: list[Handoff] = Field(default=EMPTY_LIST, max_length=HANDOFFS_KEPT)
    token_budget: TokenBudget | None = None
    compression: CompressionConfig | None = None
    compression_state: CompressionState | None = None
    created_at: Timestamp
    last_activity_at: Timestamp
    expires_at: Timestamp | None = None
    sliding_ttl: Annotated[float, Strict()] | None = Field(default=None, gt=0, lt=MAX_SECONDS)
    creation_token: Id | None = None
    version: Whole = Field(default=1, ge=1)
    message_count: Whole = Field(default=0, ge=0)
    token_count: Whole = Field(le=MAX_COUNT, default=0, ge=0)
    system_message_ids: list[Id] = EMPTY_LIST
    forked_from: ForkedFrom | None = None


class NewMessage(Model):
    """A message to add. With an `id`, repeating the append is safe. With a `token_count`, no tokens are counted.

    `created_at` is the present by default. A message that is imported keeps its own time, unless it is before that of
    the message ahead of it: then it gets that one.
    """

    role: Role
    content: Content
    metadata: MessageMetadata = _NO_MESSAGE_METADATA
    token_count: Whole | None = Field(le=MAX_MESSAGE_TOKENS, default=None, ge=0)
    id: Id | None = None
    created_at: Timestamp | None = None


class Message(Model):
    """A stored message.

    `token_count` is None only if another program wrote the message without one. It then counts as 0 in the session's
    total. `updated_at` is the time of the last edit.
    """

    id: Id
    session_id: Id
    role: Role
    content: Content
    metadata: MessageMetadata = _NO_MESSAGE_METADATA
    token_count: Whole | None = Field(le=MAX_COUNT, default=None, ge=0)
    created_at: Timestamp
    updated_at: Timestamp | None = None


_ALL_FIELDS = FixedSet(Message.model_fields)
_set = object.__setattr__


def stored_message(
    *,
    id: str,
    session_id: str,
    role: Role,
    content: Content,
    created_at: datetime,
    token_count: int | None,
    metadata: MessageMetadata | None = None,
) -> Message:
    """A message that was never edited, of values that a store has read: `Message(…)` without validation.

    It takes a third of the time, and is right for values that were validated before they were stored. The caller must
    make sure of their types, that the role is one, and that the time is in UTC. `content` and `metadata` must not be
    used elsewhere.
    """
    message = Message.__new__(Message)
    values = {
        "id": id,
        "session_id": session_id,
        "role": role,
        "content": content,
        "metadata": _NO_MESSAGE_METADATA if metadata is None else metadata,
        "token_count": token_count,
        "created_at": created_at,
        "updated_at": None,
    }
    # The slots of every pydantic model, as `model_construct` sets them; that takes five times as long.
    _set(message, "__dict__", values)
    _set(message, "__pydantic_fields_set__", _ALL_FIELDS)
    _set(message, "__pydantic_extra__", None)
    _set(message, "__pydantic_private__", None)
    return message
