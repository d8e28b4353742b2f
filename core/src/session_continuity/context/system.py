"""Which system messages a context shows. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

from session_continuity.context.counting import MessageCounter
from session_continuity.context.entries import Entry
from session_continuity.context.rules import SystemRule
from session_continuity.models import Message

__all__ = ["SystemMessages"]


class SystemMessages:
    """The system messages of a conversation, of which equal ones are shown once, at the first one's place.

    With the rule `all`, each is shown. `shown` are those that are, oldest first.
    """

    def __init__(self, messages: Iterable[Message], rule: SystemRule, counter: MessageCounter) -> None:
        self._rule = rule
        self._counter = counter
        self._contents: set[str] = set()
        self._ids: dict[str, bool] = {}
        self.shown: list[Entry] = []
        self.tokens = 0
        for message in messages:
            self.add(message)

    def add(self, message: Message) -> int:
        """Consider one more message, and return the tokens that it adds."""
        if message.id in self._ids:
            return 0
        content = message.content if isinstance(message.content, str) else json.dumps(message.content, sort_keys=True)
        is_shown = self._ids[message.id] = self._rule == "all" or content not in self._contents
        self._contents.add(content)
        tokens = self._counter.tokens(message) if is_shown else 0
        if is_shown:
            self.shown.append(Entry(message, tokens, tokens))
        self.tokens += tokens
        return tokens

    def is_shown(self, message: Message) -> bool:
        """Whether this message, which was added, is shown."""
        return self._ids.get(message.id, False)
