"""Checks of a manager's arguments, and their conversion into the values of the storage contract.

Wrong input becomes one ValidationError that names the argument and never repeats its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypedDict, TypeVar, cast, get_args

from session_continuity.contract.patch import MESSAGE_FIELDS, SESSION_FIELDS, Patch
from session_continuity.contract.queries import MessageQuery, SessionFilter, SessionOrder
from session_continuity.errors import ValidationError
from session_continuity.input_errors import choice_hint
from session_continuity.model_base import Model
from session_continuity.models import MessageMetadata, NewMessage, Role, Session, SessionStatus
from session_continuity.validation import as_list, validate
from session_continuity.values import MAX_SECONDS, check_id, check_text, to_utc_milliseconds

__all__ = [
    "SessionQuery",
    "check_ids",
    "check_version",
    "message_query",
    "metadata_changes",
    "new_messages",
    "patch_for",
    "search_text",
    "session_filter",
    "to_moment",
    "to_seconds",
]

A = TypeVar("A")
R = TypeVar("R")

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_SESSION = {"id": "-", "created_at": _ANY_TIME, "last_activity_at": _ANY_TIME}
_MESSAGE = {"role": "user", "content": ""}
_PATCHABLE: Mapping[type[Model], tuple[frozenset[str], dict[str, Any]]] = {
    Session: (SESSION_FIELDS, _SESSION),
    NewMessage: (MESSAGE_FIELDS - {"updated_at"}, _MESSAGE),
}
"""The fields that a patch may change, and values for the fields that the model requires, with which a patch is
validated as a whole model."""

_COUNTED_METADATA = frozenset(["tool_calls", "tool_results"])
_OPENAI_KEYS = frozenset(["tool_calls", "tool_call_id", "function_call"])


def new_messages(
    messages: Iterable[NewMessage | Mapping[str, Any]], accepted: Callable[[Any], Any]
) -> list[NewMessage]:
    """The messages of a batch, each as `accepted` gives it. Raises ValidationError with the index of a wrong one."""
    checked: list[NewMessage] = []
    for place, message in enumerate(as_list(messages, "messages")):
        if key := _openai_key(message):
            raise ValidationError(
                f"messages.{place}: {key} belongs to the OpenAI chat format; convert the chat with from_openai"
            )
        checked.append(validate(NewMessage, accepted(message), at=f"messages.{place}"))
    return checked


def _openai_key(message: object) -> str | None:
    keys = cast("Mapping[str, Any]", message) if isinstance(message, Mapping) else ()
    return next(iter(sorted(_OPENAI_KEYS.intersection(keys))), None)


def patch_for(model: type[Model], changes: Mapping[str, Any]) -> Patch:
    """A patch from keyword arguments, of which None clears a field.

    Raises ValidationError for a field that cannot be changed, for a wrong value, and for an empty set of changes.
    """
    allowed, rest = _PATCHABLE[model]
    unknown = sorted(changes.keys() - allowed)
    if unknown or not changes:
        problem = f"cannot change {', '.join(unknown)}" if unknown else "no change given"
        raise ValidationError(f"{problem}; the fields that can be changed are {', '.join(sorted(allowed))}")
    values = {name: value for name, value in changes.items() if value is not None}
    required = [name for name in changes if name not in values and model.model_fields[name].is_required()]
    if required:
        raise ValidationError(f"{', '.join(required)} cannot be cleared")
    changed = validate(model, {**rest, **values})
    return Patch({name: getattr(changed, name) for name in values}, frozenset(changes.keys() - values.keys()))


def metadata_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a message's metadata to change, checked; None removes a key.

    Raises ValidationError for a wrong value, for no change, and for calls and results of tools, which are counted as
    tokens.
    """
    if not changes or not _COUNTED_METADATA.isdisjoint(changes):
        problem = "tool_calls and tool_results are changed with update_message" if changes else "no change given"
        raise ValidationError(f"{problem}; name other keys of the metadata to change")
    stated = {name: value for name, value in changes.items() if value is not None}
    checked = validate(MessageMetadata, stated, at="metadata").model_dump(include=set(stated))
    return {**dict.fromkeys(changes), **checked}


def to_seconds(value: timedelta | float | None, name: str) -> float | None:
    """A duration in seconds, or None. Raises ValidationError unless it is above 0."""
    if value is None:
        return None
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 < number < MAX_SECONDS:
        raise ValidationError(f"{name} must be a timedelta or a number of seconds, above 0 and below 1e11")
    return float(number)


def check_ids(**values: str | None) -> None:
    """Raises ValidationError unless each value can be an id."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValidationError(f"{name} must be a string, not {type(value).__name__}")
        _convert(name, check_id, value)


def check_version(value: int | None, name: str) -> int | None:
    """A session's version, or None. Raises ValidationError if it is not an integer."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValidationError(f"{name} must be the session's version, a whole number")
    return value


class SessionQuery(TypedDict, total=False):
    """The conditions and the order of a listing, as keyword arguments. All are optional. A session must meet each of
    the conditions.

    `user_id`, `active_agent_id` and `status` are equal to the session's. `tags` is met by any of them.
    `created_after` and `created_before` exclude the moment itself. `title` is met by a title that has this text in it;
    case does not count, accents do. `order` is `newest`, `oldest`, `recent` (the last activity first) or `idle` (the
    longest without activity first).
    """

    user_id: str | None
    active_agent_id: str | None
    status: SessionStatus | None
    tags: str | Iterable[str] | None
    created_after: datetime | None
    created_before: datetime | None
    title: str | None
    order: SessionOrder


def session_filter(
    *,
    user_id: str | None = None,
    active_agent_id: str | None = None,
    status: SessionStatus | None = None,
    tags: str | Iterable[str] | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    title: str | None = None,
    order: SessionOrder = "newest",
) -> SessionFilter:
    """The filter of a listing, from a `SessionQuery`. Raises ValidationError for wrong arguments."""
    owners = {"user_id": user_id, "active_agent_id": active_agent_id}
    check_ids(**{name: value for name, value in owners.items() if value is not None})
    if status is not None:
        _check_choices(get_args(SessionStatus), [status], "status")
    _check_choices(get_args(SessionOrder), [order], "order")
    return SessionFilter(
        user_id=None if user_id is None else _plain(user_id),
        active_agent_id=None if active_agent_id is None else _plain(active_agent_id),
        status=None if status is None else cast("SessionStatus", _plain(status)),
        tags=_names(tags, "tags") or frozenset(),
        created_after=to_moment(created_after, "created_after"),
        created_before=to_moment(created_before, "created_before"),
        title=_text(title, "title"),
        order=cast("SessionOrder", _plain(order)),
    )


def message_query(
    order: Literal["asc", "desc"],
    roles: Role | Iterable[Role] | None,
    after: datetime | str | None,
    before: datetime | str | None,
) -> Callable[[int], MessageQuery]:
    """A function from a page size to the query. Raises ValidationError for wrong arguments."""
    _check_choices(("asc", "desc"), [order], "order")
    wanted = _names(roles, "roles")
    _check_choices(get_args(Role), wanted or (), "roles")
    bounds: dict[str, Any] = {}
    for name, bound in (("after", after), ("before", before)):
        if isinstance(bound, str):
            check_ids(**{name: bound})
            bounds[f"{name}_id"] = _plain(bound)
        else:
            bounds[name] = to_moment(bound, name)
    query = MessageQuery(order=order, roles=cast("frozenset[Role] | None", wanted), **bounds)
    return lambda limit: replace(query, limit=limit)


def _check_choices(choices: tuple[str, ...], values: Iterable[object], name: str) -> None:
    for value in values:
        if value not in choices:
            hint = choice_hint(value, choices) or f"must be one of {', '.join(choices)}"
            raise ValidationError(f"{name}: {hint}")


def _names(value: str | Iterable[str] | None, name: str) -> frozenset[str] | None:
    """One string or several as a set. Raises ValidationError for anything else."""
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else as_list(value, name)
    if not all(isinstance(item, str) for item in listed):
        raise ValidationError(f"{name} must be strings")
    for item in listed:
        _convert(name, check_text, item)
    return frozenset(map(_plain, listed))


def search_text(text: str) -> str:
    """The text of a search. Raises ValidationError unless it is one."""
    checked = _text(text, "text")
    if checked is None:
        raise ValidationError("text must be a string, not NoneType")
    return checked


def _text(value: str | None, name: str) -> str | None:
    """The text, or None. Raises ValidationError if it is not a text that can be stored."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValidationError(f"{name} must be a string, not {type(value).__name__}")
    return _plain(_convert(name, check_text, value))


def _plain(text: str) -> str:
    """The text as a plain `str`. A member of a string enumeration would be formatted as its name in a store's key."""
    return str.__str__(text)


def to_moment(value: datetime | None, name: str) -> datetime | None:
    """A time in UTC, or None. Raises ValidationError if it has no time zone."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValidationError(f"{name} must be a datetime with a time zone, for example datetime.now(timezone.utc)")
    return _convert(name, to_utc_milliseconds, value)


def _convert(name: str, function: Callable[[A], R], value: A) -> R:
    """The function's result. A ValueError becomes a ValidationError that names the argument."""
    try:
        return function(value)
    except ValueError as error:
        problem = str(error)
    # Raised outside of the handler, so that the error is not chained to one that holds the value.
    raise ValidationError(f"{name}: {problem}")
