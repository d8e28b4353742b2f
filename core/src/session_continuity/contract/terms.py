"""The terms of an append: its conditions, and what it changes beside the messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

from session_continuity.contract.patch import Patch
from session_continuity.errors import ValidationError
from session_continuity.models import Session

__all__ = ["AppendTerms", "Existing", "check_session_patch", "check_terms", "stated_terms"]

Existing = Literal["refuse", "skip"]


class AppendTerms(TypedDict, total=False):
    """What an append checks and changes beside its batch, in the same atomic step. Every term may be left out.

    A repeated append looks at no term, and changes nothing.

    - `patch` is a change of the session as `update_session` makes it. It raises `version` by one. The batch is judged
      by the session as it was before the patch.
    - `expected_version`: the append raises ConcurrencyError with the current version when the session is at another.
    - `expected_last_id` is the id of the last message that the session has, or an empty string for none. The append
      raises ConversationChangedError when the conversation ends with another message.
    - `existing` says what happens to messages of the batch that are stored already while others are not. `refuse` is
      the default: the batch is refused. With `skip` they stay where they are, and the others are stored at the end. The
      result is the whole batch, in its own order. An id that belongs to another message is refused in any case.
    - `create` is a session with this id. If there is none, it is created as by `create_session`, with the patch
      applied, if there is one, and its version raised by that. A batch that is refused creates no session. If there is
      one, `create` has no effect. It is not combined with the two expectations.
    """

    patch: Patch | None
    expected_version: int | None
    expected_last_id: str | None
    existing: Existing
    create: Session | None


_DEFAULTS: Final[Mapping[str, Any]] = {"existing": "refuse"}


def stated_terms(terms: AppendTerms) -> list[str]:
    """The names of the terms that are not at their defaults."""
    return [name for name, value in terms.items() if value != _DEFAULTS.get(name)]


def check_terms(session_id: str, terms: AppendTerms) -> None:
    """Raise ValidationError for terms that contradict each other or the session id."""
    existing, create = terms.get("existing", "refuse"), terms.get("create")
    if existing not in ("refuse", "skip"):
        raise ValidationError("existing must be 'refuse' or 'skip'")
    if (patch := terms.get("patch")) is not None:
        check_session_patch(patch)
    if create is None:
        return
    if create.id != session_id:
        raise ValidationError("create must be a session with the id of the call")
    if terms.get("expected_version") is not None or terms.get("expected_last_id") is not None:
        raise ValidationError(
            "create cannot be combined with expected_version or expected_last_id; leave one of them out"
        )


def check_session_patch(patch: Patch) -> None:
    """Raise ValidationError for a patch that can only be made to a message."""
    if patch.merge:
        raise ValidationError("a session's metadata is not merged by a patch; read it, and set the merged one")
