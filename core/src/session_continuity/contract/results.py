"""Results of the contract's methods, beside models and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from session_continuity.contract.paging import Page
from session_continuity.models import Message, Session

__all__ = ["Appended", "ConversationPage", "Fork", "HealthStatus", "Replaced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The result of an append.

    `messages` is the batch as stored. `repeated` is True when this same append had stored it before. `created` is True
    when the append created the session. `slides` says whether the session has a `sliding_ttl` after the append, and
    None if the store did not look: a manager then reads the session once. Of a session that has a `sliding_ttl` and
    never expires it says either.
    """

    messages: tuple[Message, ...]
    repeated: bool = False
    created: bool = False
    slides: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """The result of replacing a tail.

    `messages` is the batch as stored. `removed_count` is the number of messages that were removed, and `removed` those
    messages in conversation order if the call asked for them. `repeated` is True when the tail was this batch already.
    """

    messages: tuple[Message, ...] = ()
    removed_count: int = 0
    removed: tuple[Message, ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A fork in the list of its source: its id, the last message that was copied, and the `created_at` of the fork.

    `message_id` is None where the fork named no message, because it copied all of them.
    """

    session_id: str
    message_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationPage:
    """A session, a page of its messages, and its system messages outside of the page in conversation order."""

    session: Session
    messages: Page[Message]
    system_messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthStatus:
    """`healthy`: serves. `degraded`: answers, but something is missing. `unhealthy`: does not answer.

    `details` are facts for people and dashboards. `remedy` says what to do. Neither holds a secret.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    remedy: str | None = None
    latency_ms: float | None = None
