"""The command `demo`: a conversation that every further run continues."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from session_continuity import URL_VARIABLE, SessionManager, Storage, TokenBudget, default_registry
from session_continuity.cli.arguments import Json, open_store
from session_continuity.cli.demo_run import DemoRun
from session_continuity.cli.output import Output, print_notice, styled
from session_continuity.cli.transcript import Transcript, read_transcript

__all__ = ["demo"]

DEFAULT_URL = "sqlite:///session-continuity-demo.db"

_SCRIPT_TOKENS = 160
_TRANSCRIPT_TOKENS = 4096


def demo(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help=f"Any store. Default: {URL_VARIABLE}, or {DEFAULT_URL}.")
    ] = None,
    transcript: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Your own conversation, in the format of a provider, or an export of a chat program. - is stdin.",
        ),
    ] = None,
    conversation: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Which conversation of the transcript, if it has several.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=8, help="The model's limit, of which an eighth is for its answer. Default: 80, or 4096."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Have a conversation that a new process continues.

    Stores messages and tool calls, shows which of them a model sees, and hands over to another agent. Run it again to
    continue the conversation. With --transcript the conversation is your own. It is stored whole or not at all, and
    only once however often you run the command.

    In a pipe, lines of: store, session, message, handoff, context (tokens, limit, messages seen, unseen, tokens
    unseen), seen, unseen, again. JSON: store, session, found_messages, added_messages, context, again.
    """
    chat = None if transcript is None else read_transcript(transcript, conversation)
    for note in chat.notes if chat is not None else ():
        print_notice("note", note)
    tokens = max_tokens or (_SCRIPT_TOKENS if chat is None else _TRANSCRIPT_TOKENS)
    budget = TokenBudget(max_tokens=tokens, reserve_tokens=tokens // 8)
    chosen = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    shown_url = default_registry().redacted(chosen)
    output = Output(as_json=as_json)
    with open_store(chosen) as storage:
        output.line("store", shown_url, display=Text.assemble("store    ", styled(shown_url, "bold")))
        document = _run(storage, chat, budget, output)
        again = _next_command(shown_url if url else None, transcript, conversation)
        effect = "it continues" if chat is None else "nothing is stored twice"
        if not storage.adapter.capabilities.durable:
            effect = "it starts over, because this store is not durable"
        command = styled(again, "bold")
        output.blank()
        output.line("again", again, display=Text.assemble("Run it again, and ", effect, ":  ", command))
    output.document({"store": shown_url, **document, "again": again})


def _run(storage: Storage, chat: Transcript | None, budget: TokenBudget, output: Output) -> dict[str, Any]:
    run = DemoRun(storage, SessionManager(storage, token_budget=budget), output)
    session_id = run.play_script() if chat is None else run.import_transcript(chat)
    session, context = run.show_context(session_id, budget)
    return {
        "session": session.model_dump(mode="json"),
        "found_messages": run.found,
        "added_messages": run.added,
        "context": context,
    }


def _next_command(shown_url: str | None, transcript: str | None, conversation: int | None) -> str:
    """The command that continues this conversation, without secrets."""
    program = "python -m session_continuity" if sys.argv[0].endswith("__main__.py") else "session-continuity"
    options = [
        ("--url", shown_url),
        ("--transcript", transcript),
        ("--conversation", None if conversation is None else str(conversation)),
    ]
    return f"{program} demo" + "".join(f" {name} {shlex.quote(value)}" for name, value in options if value)
