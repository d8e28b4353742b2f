"""The place of a message in its conversation: `{created_at}#{id}`. Places sort in conversation order. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from session_continuity import Message, format_timestamp, minted_at, move_to

NO_MESSAGE = "-"
"""The place before all messages: `-` sorts before every digit."""

TIMESTAMP_LENGTH = 24
"""The length of `created_at`, with which a place begins."""

_MILLISECOND = timedelta(milliseconds=1)
_SORTABLE_ID = re.compile(r"(\d{15})-\d{6}-[0-9a-f-]{36}")


def place_at(created_at: datetime, message_id: str) -> str:
    """The place of the message with this time and id."""
    return f"{format_timestamp(created_at)}#{message_id}"


def place_of(message: Message) -> str:
    """The place of a message."""
    return f"{format_timestamp(message.created_at)}#{message.id}"


def id_in(place: str) -> str:
    """The message id in a place."""
    return place[TIMESTAMP_LENGTH + 1 :]


def is_place(text: str) -> bool:
    """Whether a text is long enough for a place."""
    return len(text) > TIMESTAMP_LENGTH + 1


def place_from_id(message_id: str) -> str | None:
    """The place of a message whose id contains its time: an id of this project, or one of the TypeScript kit."""
    created_at = minted_at(message_id)
    if created_at is None and (match := _SORTABLE_ID.fullmatch(message_id)):
        milliseconds = int(match[1])
        created_at = datetime.fromtimestamp(milliseconds // 1000, UTC) + milliseconds % 1000 * _MILLISECOND
    return None if created_at is None else place_at(created_at, message_id)


def place_batch(messages: Sequence[Message], last_place: str, client_ids: Collection[str]) -> list[tuple[str, Message]]:
    """The messages with rising places behind `last_place`, in their order.

    If the first message would not come after `last_place`, because its writer's clock is behind, the whole batch moves
    to the next millisecond. A message that would not come after the one before it moves alone. Moving gives new ids to
    those that are not in `client_ids`.
    """
    placed: list[tuple[str, Message]] = []
    for message in messages:
        place = place_of(message)
        if place <= last_place:
            moment = datetime.fromisoformat(last_place[:TIMESTAMP_LENGTH]) + _MILLISECOND
            if not placed:
                return place_batch(move_to(moment, messages, client_ids=client_ids), last_place, client_ids)
            [message] = move_to(moment, [message], client_ids=client_ids)
            place = place_of(message)
        placed.append((place, message))
        last_place = place
    return placed


def after_time(moment: datetime) -> str:
    """The smallest timestamp of all times later than `moment`."""
    try:
        return format_timestamp(moment.astimezone(UTC) + _MILLISECOND)
    except OverflowError:
        return "~"  # sorts after every timestamp


def until_time(moment: datetime) -> str:
    """The smallest timestamp of all times that are not before `moment`."""
    moment = moment.astimezone(UTC)
    return format_timestamp(moment if moment.microsecond % 1000 == 0 else moment + _MILLISECOND)
