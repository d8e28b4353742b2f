"""The nouns: what a session and a message are. Data only: no behaviour, no live object, nothing of a store.

All models are frozen; `model_copy(update=…)` makes a changed one. Text must be encodable as UTF-8, numbers must be
finite, times must be aware; they are kept in UTC at millisecond precision and written `YYYY-MM-DDTHH:MM:SS.sssZ`.
Nothing is taken for what it only resembles: bytes are no text, `True` and `"3"` are no number, a number is no time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    PlainSerializer,
    Strict,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "CompressionConfig",
    "CompressionState",
    "Content",
    "ContentBlock",
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
    "Timestamp",
    "TokenBudget",
    "ToolCall",
    "ToolResult",
    "format_timestamp",
]

MAX_ID_BYTES = 256
MAX_JSON_DEPTH = 100
MAX_JSON_INTEGER_BITS = 10_000  # Python's JSON parsers stop a little above
MAX_MESSAGE_TOKENS = 2**31  # of one message, so that no total comes near the next limit
MAX_COUNT = 2**53  # every store and every JSON reader holds such a number exactly
MAX_SECONDS = 1e11  # of a session's life: about 3,000 years, so that its end is a time that can be written
HANDOFFS_KEPT = 20

SessionStatus = Literal["active", "paused", "completed", "expired"]
Role = Literal["system", "user", "assistant", "tool"]
ParticipantRole = Literal["user", "agent", "observer"]
OverflowStrategy = Literal["truncate", "compress", "error"]


def to_utc_milliseconds(moment: datetime) -> datetime:
    """The same moment in UTC, cut to whole milliseconds."""
    if moment.tzinfo is not UTC:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("a time must lie between the years 1 and 9999 in UTC") from None
    excess = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - excess) if excess else moment


def check_time(value: Any) -> Any:
    """Refuse numbers, in a text too: whether they are seconds from now or since 1970, or milliseconds, is anyone's
    guess."""
    if not (isinstance(value, datetime) or (isinstance(value, str) and ":" in value)):
        raise ValueError("a time is an aware datetime, or its text as in 2030-01-31T12:00:00Z")
    return value


def format_timestamp(moment: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.sssZ`: fixed width, so that text order is time order."""
    return to_utc_milliseconds(moment).isoformat(timespec="milliseconds")[:23] + "Z"


def check_text(text: str) -> str:
    """Refuse lone surrogates: no store can write them as UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("text must be encodable as UTF-8; it holds a lone surrogate") from None
    return text


def check_id(value: str) -> str:
    size = len(check_text(value).encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise ValueError(f"an id is 1 to {MAX_ID_BYTES} bytes of UTF-8; this one has {size}")
    return value


def check_json(value: JsonValue, depth: int = 0) -> JsonValue:
    """Walk a JSON tree for what cannot be read back: text that cannot be encoded, nesting and numbers that
    parsers refuse."""
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"JSON is nested at most {MAX_JSON_DEPTH} levels deep")
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, int) and value.bit_length() > MAX_JSON_INTEGER_BITS:
        raise ValueError("a whole number in JSON has at most 3,000 digits; write a longer one as text")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)
    return value


class _OnInput:
    """Checks what Python code passes in. JSON text is what a store wrote after this check, and its parser refuses lone
    surrogates by itself; without the calls a page of messages decodes in two thirds of the time."""

    def __init__(self, check: Callable[[Any], Any]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        checked = core_schema.no_info_after_validator_function(self._check, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=checked)


class _WrittenTime:
    """A time in UTC at milliseconds. JSON text in the form that we write ourselves is read without a Python call, which
    halves what a page of sessions costs; every other form goes the general way."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        general = core_schema.no_info_after_validator_function(to_utc_milliseconds, handler(source))
        written = core_schema.str_schema(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        fast = core_schema.no_info_after_validator_function(datetime.fromisoformat, written)
        either = core_schema.union_schema([fast, general], mode="left_to_right")
        given = core_schema.no_info_before_validator_function(check_time, general)
        return core_schema.json_or_python_schema(json_schema=either, python_schema=given)


Timestamp = Annotated[
    AwareDatetime,
    _WrittenTime(),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
]
Id = Annotated[str, Strict(), _OnInput(check_id)]
Text = Annotated[str, Strict(), _OnInput(check_text)]
Whole = Annotated[int, Strict()]
JsonObject = Annotated[dict[str, JsonValue], _OnInput(check_json)]
Json = Annotated[JsonValue, _OnInput(check_json)]


def check_block(block: dict[str, JsonValue]) -> dict[str, JsonValue]:
    kind = block.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError("a content block needs a 'type', for example {'type': 'text', 'text': …}")
    if kind == "text" and not isinstance(block.get("text"), str):
        raise ValueError("a text block needs its 'text'")
    if kind == "image_url" and not isinstance(block.get("image_url"), (str, dict)):
        raise ValueError("an image_url block needs its 'image_url', for example {'url': …}")
    return block


ContentBlock = Annotated[JsonObject, _OnInput(check_block)]
"""One part of a message: `text`, `image_url`, or any other `{"type": …}` object, kept verbatim."""

Content = Text | list[ContentBlock]


def _none() -> list[Any]:
    """No items. Said so, a default costs half of what `list[…]` as a factory takes, and every message has some."""
    return []


class Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        revalidate_instances="always",
    )


class OpenModel(Model):
    """A model with keys of the caller's own beside the typed ones; any of them reads as `metadata["key"]`."""

    model_config = ConfigDict(extra="allow")
    if TYPE_CHECKING:
        __pydantic_extra__: dict[Text, Json] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    else:  # a class attribute would hide pydantic's own slot of this name
        __pydantic_extra__: dict[Text, Json]

    def __getitem__(self, key: str) -> Any:
        if key in type(self).model_fields:
            return getattr(self, key)
        return (self.__pydantic_extra__ or {})[key]


class ToolCall(Model):
    """A tool that the assistant asks for. `arguments` is JSON text as models write it, or an object."""

    id: Id
    name: Text
    arguments: Text | JsonObject = ""


class ToolResult(Model):
    """What a tool answered to the call `tool_call_id`."""

    tool_call_id: Id
    result: Json = None
    name: Text | None = None
    is_error: Annotated[bool, Strict()] = False


class MessageMetadata(OpenModel):
    """Tool calls and results, typed; `annotations` and further keys are the caller's own JSON."""

    tool_calls: list[ToolCall] = Field(default_factory=_none)
    tool_results: list[ToolResult] = Field(default_factory=_none)
    annotations: JsonObject = Field(default_factory=dict)


class SessionMetadata(OpenModel):
    """What an application notes on a session. Listing matches `tags` (any of them)."""

    title: Text | None = None
    tags: list[Text] = Field(default_factory=list)
    source: Text | None = None
    custom: JsonObject = Field(default_factory=dict)


class TokenBudget(Model):
    """How many tokens a conversation may take: `max_tokens` in all, `reserve_tokens` of them for the answer.

    `overflow_strategy`: `truncate` leaves old messages out of the context, `compress` folds them into a summary,
    `error` makes the store refuse an append that would take the session's total over the limit.
    """

    max_tokens: Whole = Field(le=MAX_COUNT, gt=0)
    reserve_tokens: Whole = Field(le=MAX_COUNT, default=0, ge=0)
    overflow_strategy: OverflowStrategy = "truncate"

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.reserve_tokens >= self.max_tokens:
            raise ValueError("reserve_tokens must be smaller than max_tokens")
        return self

    @property
    def available(self) -> int:
        """Tokens that the conversation itself may take."""
        return self.max_tokens - self.reserve_tokens

    @property
    def hard_limit(self) -> int | None:
        """The total that the store enforces at every append, or None."""
        return self.available if self.overflow_strategy == "error" else None


class CompressionConfig(OpenModel):
    """A compression strategy by name, with its parameters; strategies of plugins may take further keys.

    Token numbers are as the session's counter counts them; `None` leaves the choice to the strategy. A text in place of
    a configuration is the strategy's name.
    """

    strategy: Text
    target_tokens: Whole | None = Field(le=MAX_COUNT, default=None, gt=0)
    min_messages: Whole | None = Field(default=None, ge=0)
    max_messages: Whole | None = Field(default=None, gt=0)
    summarization_prompt: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"strategy": value} if isinstance(value, str) else value


class CompressionState(Model):
    """The cached summary and what it stands for: every message up to `covered_until`, created at `covered_through`;
    `covered_messages` of them with `covered_tokens`, system messages not counted."""

    strategy: Text
    summary: Text | None = None
    summary_token_count: Whole = Field(le=MAX_COUNT, default=0, ge=0)
    covered_until: Id
    covered_through: Timestamp
    covered_messages: Whole = Field(ge=0)
    covered_tokens: Whole = Field(le=MAX_COUNT, ge=0)
    updated_at: Timestamp


class Participant(Model):
    """Somebody in the conversation; one who left keeps their entry, with `left_at`."""

    id: Id
    role: ParticipantRole = "user"
    metadata: JsonObject = Field(default_factory=dict)
    joined_at: Timestamp
    left_at: Timestamp | None = None


class Handoff(Model):
    """One change of the active agent, with what was handed over."""

    from_agent_id: Id | None = None
    to_agent_id: Id
    reason: Text | None = None
    context: Json = None
    at: Timestamp


class Session(Model):
    """A conversation.

    `version` counts `update_session` writes, from 1. `message_count`, `token_count`, `last_activity_at` (the last
    append, or the creation) and `system_message_ids` (in conversation order) are kept by the store from its messages.
    `handoffs` holds the newest 20, oldest first. At `expires_at` the session is gone for every read and write;
    `sliding_ttl` (seconds) says that a manager moves `expires_at` that far ahead again while messages arrive.
    """

    id: Id
    user_id: Id | None = None
    active_agent_id: Id | None = None
    status: SessionStatus = "active"
    metadata: SessionMetadata = Field(default_factory=SessionMetadata)
    participants: list[Participant] = Field(default_factory=_none)
    handoffs: list[Handoff] = Field(default_factory=_none, max_length=HANDOFFS_KEPT)
    token_budget: TokenBudget | None = None
    compression: CompressionConfig | None = None
    compression_state: CompressionState | None = None
    created_at: Timestamp
    last_activity_at: Timestamp
    expires_at: Timestamp | None = None
    sliding_ttl: Annotated[float, Strict()] | None = Field(default=None, gt=0, lt=MAX_SECONDS)
    version: Whole = Field(default=1, ge=1)
    message_count: Whole = Field(default=0, ge=0)
    token_count: Whole = Field(le=MAX_COUNT, default=0, ge=0)
    system_message_ids: list[Id] = Field(default_factory=list)


class NewMessage(Model):
    """A message to be added: what the caller says of it. `id` makes a retry safe; `token_count` saves the counting."""

    role: Role
    content: Content
    metadata: MessageMetadata = Field(default_factory=MessageMetadata)
    token_count: Whole | None = Field(le=MAX_MESSAGE_TOKENS, default=None, ge=0)
    id: Id | None = None


class Message(Model):
    """A stored message. `token_count` is None only where a foreign writer left it out; such a message counts 0 in
    the session's total. `updated_at` is the last edit."""

    id: Id
    session_id: Id
    role: Role
    content: Content
    metadata: MessageMetadata = Field(default_factory=MessageMetadata)
    token_count: Whole | None = Field(le=MAX_COUNT, default=None, ge=0)
    created_at: Timestamp
    updated_at: Timestamp | None = None
