"""The command `import`: conversations of other programs become sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from session_continuity import SessionManager
from session_continuity.cli.arguments import Json, Url, open_store
from session_continuity.cli.formatting import count
from session_continuity.cli.output import Output, print_notice, styled
from session_continuity.cli.transcript import parse_transcripts, read_source, read_transcript
from session_continuity.cli.transcript_import import import_transcript

__all__ = ["import_conversations"]


def import_conversations(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON or JSON lines: a chat, an export, a log. - is stdin.")
    ],
    url: Url = None,
    conversation: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only this one of several conversations.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store the conversations of a file, each as a session.

    Reads chats of OpenAI, Anthropic, Bedrock, Gemini and the Vercel AI SDK, fine-tuning files, ShareGPT, LangChain
    dumps, logs of Claude Code, and exports of ChatGPT, Claude.ai and Open WebUI. All is read and checked before
    anything is stored. A conversation is stored whole or not at all, and only once however often you run the command.

    In a pipe, lines of: imported, session, messages found, messages added. JSON: sessions.
    """
    if conversation is None:
        transcripts = parse_transcripts(read_source(file), "standard input" if file == "-" else file)
    else:
        transcripts = [read_transcript(file, conversation)]
    for note in dict.fromkeys(note for transcript in transcripts for note in transcript.notes):
        print_notice("note", note)
    output = Output(as_json=as_json)
    sessions: list[dict[str, object]] = []
    with open_store(url) as storage:
        manager, max_batch = SessionManager(storage), storage.adapter.capabilities.max_batch
        for transcript in transcripts:
            done = import_transcript(manager, transcript, max_batch=max_batch)
            new = f"{count(done.added, 'new message')}, {done.found} found"
            display = styled(f"{done.session_id}  {new}")
            output.line("imported", done.session_id, done.found, done.added, display=display)
            sessions.append({"id": done.session_id, "found": done.found, "added": done.added})
    output.document({"sessions": sessions})
