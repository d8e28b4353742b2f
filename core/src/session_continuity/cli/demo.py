"""`demo`: a conversation that goes on, whatever process tells it."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from session_continuity import URL_VARIABLE, SessionManager, Storage, TokenBudget, default_registry
from session_continuity.cli.arguments import Json, opened
from session_continuity.cli.output import Answer, visible
from session_continuity.cli.telling import Telling
from session_continuity.cli.transcript import Transcript, read_transcript

__all__ = ["demo"]

DEFAULT_URL = "sqlite:///session-continuity-demo.db"

_STORY_TOKENS = 80
_TRANSCRIPT_TOKENS = 4096


def demo(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help=f"Any store. Default: {URL_VARIABLE}, or {DEFAULT_URL}.")
    ] = None,
    transcript: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Your own conversation: JSON or JSON lines in OpenAI chat format; - is stdin."
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=8, help="Tokens that a model takes, an eighth of them for its answer. Default: 80, or 4096."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold a conversation that a new process continues.

    Stores messages and tool calls, shows what of them a model sees, and hands over to another agent. Run it again, and
    the conversation goes on. With --transcript it is your own, stored whole or not at all, and once however often
    you run it.

    In a pipe, lines of: store, session, message, handoff, context (tokens, limit, messages seen, unseen, tokens
    unseen), seen, unseen, again. JSON: store, session, found_messages, added_messages, context, again.
    """
    chat = None if transcript is None else read_transcript(transcript)
    tokens = max_tokens or (_STORY_TOKENS if chat is None else _TRANSCRIPT_TOKENS)
    budget = TokenBudget(max_tokens=tokens, reserve_tokens=tokens // 8)
    chosen = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    shown_url = default_registry().redacted(chosen)
    answer = Answer(as_json=as_json)
    with opened(chosen) as storage:
        answer.line("store", shown_url, look=Text.assemble("store    ", (visible(shown_url), "bold")))
        told = _tell(storage, chat, budget, answer)
        again = _again(shown_url if url else None, transcript)
        gain = "it goes on" if chat is None else "nothing is stored twice"
        if not storage.adapter.capabilities.durable:
            gain = "it begins anew, as this store forgets"
        answer.blank()
        answer.line("again", again, look=Text.assemble("Run it again, and ", gain, ":  ", (visible(again), "bold")))
    answer.document({"store": shown_url, **told, "again": again})


def _tell(storage: Storage, chat: Transcript | None, budget: TokenBudget, answer: Answer) -> dict[str, Any]:
    telling = Telling(storage, SessionManager(storage, token_budget=budget), answer)
    session_id = telling.story() if chat is None else telling.transcript(chat)
    session, context = telling.context(session_id, budget)
    return {
        "session": session.model_dump(mode="json"),
        "found_messages": telling.found,
        "added_messages": telling.added,
        "context": context,
    }


def _again(shown_url: str | None, transcript: str | None) -> str:
    """The command that goes on with this conversation, as far as it can be shown."""
    program = "python -m session_continuity" if sys.argv[0].endswith("__main__.py") else "session-continuity"
    options = [("--url", shown_url), ("--transcript", transcript)]
    return f"{program} demo" + "".join(f" {name} {shlex.quote(value)}" for name, value in options if value)
