"""`ImportedConversation` and `ImportSource`: how `session-continuity import --from` sees another program's store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from session_continuity.manager.creation import SessionFields
    from session_continuity.models import NewMessage

__all__ = ["IMPORTS", "ImportSource", "ImportedConversation"]

IMPORTS = "session_continuity.imports"
"""The group of entry points that name an ImportSource each. The name of an entry point is the KIND of `--from KIND`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedConversation:
    """A conversation of another program, as it is to be stored here.

    `id` is the id of the session, and `fields` are its other fields; None if nothing can be stored. `messages` are in
    the order of the conversation. Each has an `id` that is the same whenever the source is read, also when the source
    has grown: by these ids an import goes on after it broke off. `unreadable` says of each record that is left out
    where it is and why, without its content.
    """

    id: str
    fields: SessionFields | None
    messages: Sequence[NewMessage] = ()
    unreadable: Sequence[str] = ()


ImportSource: TypeAlias = Callable[[str], Iterable[ImportedConversation]]
"""A function from what the user calls the source, such as a path or a URL, to its conversations, one by one.

It raises ConfigError for a source that cannot be opened, and for a client that is not installed.
"""
