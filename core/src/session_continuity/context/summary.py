"""A session's summary as a message that models read."""

from __future__ import annotations

from session_continuity.models import CompressionState, Message

__all__ = ["SUMMARY_ID", "summary_message"]

SUMMARY_ID = "summary"
"""The id of the message in a context that holds the summary."""

_INTRODUCTION = "Summary of the conversation so far:\n"


def summary_message(session_id: str, state: CompressionState | None) -> Message | None:
    """The summary as a system message; None where there is none."""
    if state is None or state.summary is None:
        return None
    return Message(
        id=SUMMARY_ID,
        session_id=session_id,
        role="system",
        content=_INTRODUCTION + state.summary,
        token_count=state.summary_token_count or None,
        created_at=state.updated_at,
    )
