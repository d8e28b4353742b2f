"""One run of the demo, and its output."""

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
from session_continuity.cli import demo_script
from session_continuity.cli.demo_script import Step
from session_continuity.cli.formatting import count, format_minute, message_display, message_text, speaker
from session_continuity.cli.output import Output, styled
from session_continuity.cli.transcript import Transcript
from session_continuity.cli.transcript_import import import_transcript, split_batches

__all__ = ["DemoRun"]

_REVIEWER = "reviewer"
_NEWEST = 10


class DemoRun:
    """One run of the demo. `found` counts the messages that were stored before it, `added` those that it stored."""

    def __init__(self, storage: Storage, manager: SessionManager, output: Output) -> None:
        self._max_batch = storage.adapter.capabilities.max_batch
        self._manager = manager
        self._output = output
        self.found = 0
        self.added = 0

    def play_script(self) -> str:
        """Play the next visit of the built-in conversation, or finish one that was interrupted.

        Returns the session's id.
        """
        session = self._script_session()
        self.found = session.message_count
        self._welcome(session)
        self._output.blank()
        for step in self._next_steps(session.id):
            if isinstance(step, demo_script.HandOver):
                self._hand_over(session.id, step.to, step.reason)
                continue
            for batch in split_batches(step, self._max_batch):
                self._show(self._manager.add_messages(session.id, batch))
        self.added = self._manager.get_session(session.id).message_count - self.found
        return session.id

    def import_transcript(self, chat: Transcript) -> str:
        """Store the messages of the user's own conversation that are not stored yet, and hand it over.

        Returns the session's id.
        """
        result = import_transcript(self._manager, chat, max_batch=self._max_batch)
        self.found, self.added = result.found, result.added
        self._welcome(self._manager.get_session(result.session_id))
        new = f"{count(result.added, 'message')} in {count(result.batches, 'write')}" if result.added else "nothing new"
        self._output.line("stored", result.added, result.batches, display=styled(f"stored   {new}"))
        self._hand_over(result.session_id, _REVIEWER, "a second pair of eyes")
        return result.session_id

    def show_context(self, session_id: str, budget: TokenBudget) -> tuple[Session, dict[str, Any]]:
        """Show the messages that a model sees within this budget. Returns the session, and the context for JSON."""
        session = self._manager.get_session(session_id)
        if session.token_budget != budget:
            session = self._manager.update_session(session_id, token_budget=budget)
        context = self._manager.get_conversation_context_with_stats(session_id)
        self._show_context(session, context)
        messages = [message.model_dump(mode="json") for message in context.messages]
        return session, {**asdict(context.budget), "messages": messages}

    def _script_session(self) -> Session:
        try:
            return self._manager.get_session(demo_script.SESSION_ID)
        except SessionNotFoundError:
            pass
        try:
            return self._manager.create_session(
                id=demo_script.SESSION_ID,
                user_id="demo-user",
                active_agent_id=demo_script.FIRST_AGENT,
                metadata={"title": demo_script.TITLE, "source": "demo"},
            )
        except SessionExistsError:  # another process was faster
            return self._manager.get_session(demo_script.SESSION_ID)

    def _next_steps(self, session_id: str) -> list[Step]:
        newest_first = self._manager.iter_messages(session_id, order="desc")
        visits = ((message.id, demo_script.visit_of(message.id)) for message in newest_first)
        last_id, number = next(((id, visit) for id, visit in visits if visit is not None), ("", 0))
        if number == 0 or last_id == demo_script.last_id(demo_script.visit(number)):
            return demo_script.visit(number + 1)
        self._output.line(
            "resumed", number, display=styled("The last run was interrupted. This one finishes it.", "yellow")
        )
        return demo_script.visit(number)

    def _welcome(self, session: Session) -> None:
        known = "new"
        if self.found:
            known = f"found, {count(self.found, 'message')} since {format_minute(session.created_at)}"
        display = Text.assemble("session  ", styled(session.id, "bold"), f"  {known}")
        self._output.line("session", session.id, "found" if self.found else "new", self.found, display=display)

    def _show(self, messages: Iterable[Message]) -> None:
        for message in messages:
            fields = ("message", message.id, message.role, speaker(message), message_text(message))
            self._output.line(*fields, display=message_display(message))

    def _hand_over(self, session_id: str, agent: str, reason: str) -> None:
        """Hand over to this agent, unless it is active already because an earlier run was interrupted."""
        before = self._manager.get_session(session_id).active_agent_id
        try:
            self._manager.handoff_to_agent(session_id, agent, reason=reason)
        except HandoffError:
            if self._manager.get_session(session_id).active_agent_id != agent:
                raise
            return
        display = styled(f"⇢ handed over from {before} to {agent}: {reason}", "yellow")
        self._output.line("handoff", before, agent, reason, display=display)

    def _show_context(self, session: Session, context: ConversationContext) -> None:
        report = context.budget
        facts = (report.used, report.limit, report.kept_messages, report.dropped_messages, report.dropped_tokens)
        self._output.blank()
        headline = f"A model with room for {report.limit:,} tokens sees {report.kept_messages:,} of "
        headline += f"{count(session.message_count, 'message')}, {report.used:,} tokens"
        self._output.line("context", *facts, display=styled(headline, "bold"))
        seen = {message.id for message in context.messages}
        newest = list(reversed(self._manager.get_messages(session.id, order="desc", limit=_NEWEST)))
        first = [message for message in context.messages if message.role == "system" and message not in newest]
        hidden_seen = len(seen) - len(first) - sum(message.id in seen for message in newest)
        hidden_unseen = session.message_count - len(newest) - len(first) - hidden_seen
        self._show_seen(first, seen)
        if hidden_seen or hidden_unseen:
            gap = f"✗  … {hidden_unseen:,} more" if hidden_unseen else f"✓  … {hidden_seen:,} more"
            gap += f", then ✓ … {hidden_seen:,} more" if hidden_unseen and hidden_seen else ""
            self._output.line("between", hidden_unseen, hidden_seen, display=styled(gap, "dim"))
        self._show_seen(newest, seen)

    def _show_seen(self, messages: Iterable[Message], seen: Container[str]) -> None:
        for message in messages:
            is_seen = message.id in seen
            fields = (message.id, message.role, message.token_count, message_text(message))
            mark = Text("✓") if is_seen else Text("✗", "dim")
            self._output.line("seen" if is_seen else "unseen", *fields, display=message_display(message, mark=mark))
