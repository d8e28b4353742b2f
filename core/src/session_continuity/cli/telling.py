"""One run of the demo: what is done, and what is said of it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import asdict
from typing import Any

from rich.text import Text

from session_continuity import (
    ConversationContext,
    HandoffError,
    Message,
    Session,
    SessionExistsError,
    SessionManager,
    SessionNotFoundError,
    Storage,
    TokenBudget,
)
from session_continuity.cli import story
from session_continuity.cli.feed import feed, in_turns
from session_continuity.cli.looks import message_text, moment, speaker, spoken
from session_continuity.cli.output import Answer, styled
from session_continuity.cli.story import Step
from session_continuity.cli.transcript import Transcript

__all__ = ["Telling"]

_REVIEWER = "reviewer"
_NEWEST = 10


class Telling:
    """`found` messages were there before this run, `added` are new."""

    def __init__(self, storage: Storage, manager: SessionManager, answer: Answer) -> None:
        self._max_turn = storage.adapter.capabilities.max_turn
        self._manager = manager
        self._answer = answer
        self.found = 0
        self.added = 0

    def story(self) -> str:
        """Tell the next visit of the built-in conversation, or the one that was cut short, and return its session."""
        session = self._story_session()
        self.found = session.message_count
        self._welcome(session)
        self._answer.blank()
        for step in self._next_steps(session.id):
            if isinstance(step, story.HandOver):
                self._hand_over(session.id, step.to, step.reason)
                continue
            for turn in in_turns(step, self._max_turn):
                self._show(self._manager.add_messages(session.id, turn))
        self.added = self._manager.get_session(session.id).message_count - self.found
        return session.id

    def transcript(self, chat: Transcript) -> str:
        """Store what is not stored yet of the user's own conversation, hand it over, and return its session."""
        fed = feed(self._manager, chat, max_turn=self._max_turn)
        self.found, self.added = fed.found, fed.added
        self._welcome(self._manager.get_session(fed.session_id))
        writes = f"{fed.turns:,} write{'' if fed.turns == 1 else 's'}"
        stored = f"stored   {fed.added:,} messages in {writes}" if fed.added else "stored   all of it before"
        self._answer.line("stored", fed.added, fed.turns, look=styled(stored))
        self._hand_over(fed.session_id, _REVIEWER, "a second pair of eyes")
        return fed.session_id

    def context(self, session_id: str, budget: TokenBudget) -> tuple[Session, dict[str, Any]]:
        """Show what a model gets to see within this budget; return the session, and the same as a document."""
        session = self._manager.get_session(session_id)
        if session.token_budget != budget:
            session = self._manager.update_session(session_id, token_budget=budget)
        context = self._manager.get_conversation_context_with_stats(session_id)
        self._show_context(session, context)
        messages = [message.model_dump(mode="json") for message in context.messages]
        return session, {**asdict(context.budget), "messages": messages}

    def _story_session(self) -> Session:
        try:
            return self._manager.get_session(story.SESSION_ID)
        except SessionNotFoundError:
            pass
        try:
            return self._manager.create_session(
                id=story.SESSION_ID,
                user_id="demo-user",
                active_agent_id=story.FIRST_AGENT,
                metadata={"title": story.TITLE, "source": "demo"},
            )
        except SessionExistsError:  # another process was faster
            return self._manager.get_session(story.SESSION_ID)

    def _next_steps(self, session_id: str) -> list[Step]:
        newest_first = self._manager.iter_messages(session_id, order="desc")
        visits = ((message.id, story.visit_of(message.id)) for message in newest_first)
        last_id, number = next(((id, visit) for id, visit in visits if visit is not None), ("", 0))
        if number == 0 or last_id == story.last_id(story.visit(number)):
            return story.visit(number + 1)
        self._answer.line("resumed", number, look=styled("The last run was cut short; this one ends it.", "yellow"))
        return story.visit(number)

    def _welcome(self, session: Session) -> None:
        known = f"found, {self.found:,} messages since {moment(session.created_at)}" if self.found else "new"
        look = Text.assemble("session  ", (session.id, "bold"), f"  {known}")
        self._answer.line("session", session.id, "found" if self.found else "new", self.found, look=look)

    def _show(self, messages: Iterable[Message]) -> None:
        for message in messages:
            fields = ("message", message.id, message.role, speaker(message), message_text(message))
            self._answer.line(*fields, look=spoken(message))

    def _hand_over(self, session_id: str, agent: str, reason: str) -> None:
        """Make this agent the active one, unless it is already, as after a run that was cut short."""
        before = self._manager.get_session(session_id).active_agent_id
        try:
            self._manager.handoff_to_agent(session_id, agent, reason=reason)
        except HandoffError:
            if self._manager.get_session(session_id).active_agent_id != agent:
                raise
            return
        look = styled(f"⇢ handed from {before} to {agent}: {reason}", "yellow")
        self._answer.line("handoff", before, agent, reason, look=look)

    def _show_context(self, session: Session, context: ConversationContext) -> None:
        report = context.budget
        facts = (report.used, report.limit, report.kept_messages, report.dropped_messages, report.dropped_tokens)
        self._answer.blank()
        headline = f"A model with room for {report.limit:,} tokens sees {report.kept_messages:,} of "
        headline += f"{session.message_count:,} messages, {report.used:,} tokens"
        self._answer.line("context", *facts, look=styled(headline, "bold"))
        seen = {message.id for message in context.messages}
        newest = list(reversed(self._manager.get_messages(session.id, order="desc", limit=_NEWEST)))
        first = [message for message in context.messages if message.role == "system" and message not in newest]
        hidden_seen = len(seen) - len(first) - sum(message.id in seen for message in newest)
        hidden_unseen = session.message_count - len(newest) - len(first) - hidden_seen
        self._show_seen(first, seen)
        if hidden_seen or hidden_unseen:
            gap = f"✗  … {hidden_unseen:,} more" if hidden_unseen else f"✓  … {hidden_seen:,} more"
            gap += f", then ✓ … {hidden_seen:,} more" if hidden_unseen and hidden_seen else ""
            self._answer.line("between", hidden_unseen, hidden_seen, look=styled(gap, "dim"))
        self._show_seen(newest, seen)

    def _show_seen(self, messages: Iterable[Message], seen: Container[str]) -> None:
        for message in messages:
            is_seen = message.id in seen
            fields = (message.id, message.role, message.token_count, message_text(message))
            mark = Text("✓") if is_seen else Text("✗", "dim")
            self._answer.line("seen" if is_seen else "unseen", *fields, look=spoken(message, mark=mark))
