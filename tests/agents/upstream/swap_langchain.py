"""A pytest plugin for the tests of langchain-core: the history in memory is ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import langchain_core.chat_history
from langchain_core.messages import BaseMessage
from swap_stores import url_of  # beside this file, which is on the path of modules

from session_continuity_agents.langchain import ConversationHistory

_calls = 0
_theirs = langchain_core.chat_history.InMemoryChatMessageHistory


class InMemoryChatMessageHistory(ConversationHistory):
    """Called as theirs is: an empty store, equal to another with the same messages, whatever their ids.

    The store gives an id to a message without one.
    """

    def __init__(self, messages: Sequence[BaseMessage] = ()) -> None:
        super().__init__("chat", url=url_of())
        if messages:
            self.add_messages(messages)
        global _calls
        _calls += 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InMemoryChatMessageHistory) and _without_ids(self) == _without_ids(other)

    __hash__ = None  # type: ignore[assignment]


def _without_ids(history: ConversationHistory) -> list[BaseMessage]:
    return [message.model_copy(update={"id": None}) for message in history.messages]


def pytest_configure() -> None:
    langchain_core.chat_history.InMemoryChatMessageHistory = InMemoryChatMessageHistory  # type: ignore[assignment,misc]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"histories of ours: {_calls}")
