"""The command `import`: conversations of other programs become sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from session_continuity import SessionManager
from session_continuity.cli.arguments import Json, Url, open_store
from session_continuity.cli.formatting import count
from session_continuity.cli.import_sources import import_from
from session_continuity.cli.output import Output, print_notice, styled
from session_continuity.cli.transcript import Transcript, parse_transcripts, read_source, read_transcript
from session_continuity.cli.transcript_import import import_transcript

__all__ = ["import_conversations"]


def import_conversations(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="JSON or JSON lines: a chat, an export, a log. - is stdin. With --from, a store."
        ),
    ],
    url: Url = None,
    kind: Annotated[
        str | None,
        typer.Option("--from", metavar="KIND", help="What the source is the store of, such as openai-agents."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and compare everything, and store nothing.")] = False,
    conversation: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only this one of several conversations of a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store the conversations of a file or of another program's store, each as a session.

    Reads chats of OpenAI, Anthropic, Bedrock, Gemini and the Vercel AI SDK, fine-tuning files, ShareGPT, LangChain
    dumps, logs of Claude Code, and exports of ChatGPT, Claude.ai and Open WebUI. All is read and checked before
    anything is stored. A conversation is stored whole or not at all, and only once however often you run the command.

    With --from, the source is the store of an agent framework. Each conversation becomes the session with which the
    framework goes on here. Run the command again after it was interrupted, or when the source has grown: it stores
    what is missing. What was stored is read back and compared. A record that cannot be read is told and left out, and
    then the exit code is 1. The kinds come with the package session-continuity-agents.

    In a pipe, lines of: imported, session, messages found, messages added; with --from also: problems. Lines of a dry
    run begin with: readable. JSON: sessions.
    """
    output = Output(as_json=as_json)
    if kind is not None:
        if conversation is not None:
            raise typer.BadParameter("it is for files, not for --from", param_hint="--conversation")
        import_from(kind, source, url, output, dry_run=dry_run)
        return
    if dry_run:
        raise typer.BadParameter("it is for --from; a file is read and checked before anything is stored")
    if conversation is None:
        transcripts = parse_transcripts(read_source(source), "standard input" if source == "-" else source)
    else:
        transcripts = [read_transcript(source, conversation)]
    for note in dict.fromkeys(note for transcript in transcripts for note in transcript.notes):
        print_notice("note", note)
    _store(transcripts, url, output)


def _store(transcripts: list[Transcript], url: str | None, output: Output) -> None:
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
