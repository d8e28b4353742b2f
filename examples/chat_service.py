"""A chat service for many users: FastAPI, streamed answers, and as many workers and machines as you like on one store.

    pip install fastapi uvicorn "session-continuity[sqlite]"
    SESSION_CONTINUITY_URL=sqlite:///chat.db uvicorn chat_service:app --workers 2

A question has an id that the client chose. Sending it again, after a lost connection for example, stores it once, and
gives the answer that is there. A client that goes away does not stop its answer. One that a dead worker left unfinished
is begun again.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

import session_continuity as sc

PATIENCE = timedelta(seconds=10)
"""An answer to which nothing was added for so long was left by a worker that died. It must be longer than any pause of
the model."""

answering: set[asyncio.Task[None]] = set()


async def model(messages: list[sc.Message]) -> AsyncIterator[str]:
    """Stands for a call of a model, for example with `sc.to_openai(messages)`."""
    for word in f"I have read {len(messages)} messages.".split(" "):
        yield f"{word} "


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with sc.AsyncSessionManager.open() as app.state.manager:
        yield
        await asyncio.gather(*answering, return_exceptions=True)  # what is being answered is answered to its end


app = FastAPI(lifespan=lifespan)


def chats_of_user(request: Request, x_user: Annotated[str, Header()]) -> sc.AsyncSessionManager:
    """The manager of one user, for whom the chats of others do not exist. In your application, authenticate here."""
    manager: sc.AsyncSessionManager = request.app.state.manager
    return manager.for_user(x_user)


Chats = Annotated[sc.AsyncSessionManager, Depends(chats_of_user)]


class Question(BaseModel):
    id: str = Field(min_length=1, max_length=100)
    text: str


@app.post("/chats", status_code=201)
async def create(chats: Chats, title: str | None = None) -> dict[str, str]:
    session = await chats.create_session(metadata={"title": title})
    return {"id": session.id}


@app.get("/chats")
async def recent(chats: Chats, x_user: Annotated[str, Header()], limit: int = 20) -> list[dict[str, Any]]:
    found = await chats.recent_sessions(x_user, limit=limit)
    return [{"id": each.id, "title": each.metadata.title, "messages": each.message_count} for each in found]


@app.get("/chats/{chat}/messages")
async def messages(chats: Chats, chat: str, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    page = await chats.get_messages(chat, limit=limit, cursor=cursor)
    shown = [
        {"id": each.id, "role": each.role, "text": each.content, "whole": not sc.is_unfinished(each)} for each in page
    ]
    return {"messages": shown, "next": page.next_cursor}


@app.delete("/chats/{chat}", status_code=204)
async def delete(chats: Chats, chat: str) -> None:
    await chats.delete_session(chat)


@app.post("/chats/{chat}/messages")
async def ask(chats: Chats, chat: str, question: Question) -> StreamingResponse:
    """Store a question, and stream its answer as server-sent events."""
    answer_id, attempt = f"{question.id}-answer", uuid4().hex
    asked = {"role": "user", "content": question.text, "id": question.id, "metadata": {"annotations": {"by": attempt}}}
    [stored] = await chats.add_messages(chat, [asked])  # a question that is there already is returned as it is
    is_first = stored.metadata.annotations.get("by") == attempt
    answer = None if is_first else await answer_so_far(chats, chat, answer_id, stored.created_at)
    parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    if answer is not None:
        parts.put_nowait({"text": answer.content})
        parts.put_nowait({"end": answer.id})
    else:
        task = asyncio.create_task(write_answer(chats, chat, answer_id, parts))  # goes on if the client goes away
        answering.add(task)
        task.add_done_callback(answering.discard)
    return StreamingResponse(events(parts), media_type="text/event-stream")


async def answer_so_far(chats: sc.AsyncSessionManager, chat: str, id: str, asked_at: datetime) -> sc.Message | None:
    """The whole answer; None if it must be begun again. Raises HTTPException while it is being written."""
    try:
        answer = await chats.get_message(chat, id)
    except sc.MessageNotFoundError:
        answer = None
    if answer is not None and not sc.is_unfinished(answer):
        return answer
    seen_at = asked_at if answer is None else answer.updated_at or answer.created_at
    if sc.utc_now() - seen_at < PATIENCE:
        raise HTTPException(409, "this question is being answered", {"Retry-After": str(PATIENCE.seconds)})
    if answer is not None:
        await chats.delete_message(chat, id)
    return None


async def write_answer(chats: sc.AsyncSessionManager, chat: str, id: str, parts: asyncio.Queue[dict[str, Any]]) -> None:
    try:
        context = await chats.get_conversation_context(chat)
        async with chats.stream_message(chat, id=id) as answer:
            async for text in model(context):
                await answer.write(text)
                parts.put_nowait({"text": text})
        parts.put_nowait({"end": id})
    except Exception as error:
        logging.getLogger(__name__).exception("the answer %s failed", id)
        parts.put_nowait({"error": type(error).__name__, "end": id})


async def events(parts: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[str]:
    part: dict[str, Any] = {}
    while "end" not in part:
        part = await parts.get()
        yield f"data: {json.dumps(part)}\n\n"


STATUS = {
    sc.SessionNotFoundError: 404,
    sc.MessageNotFoundError: 404,
    sc.ValidationError: 422,
    sc.SessionClosedError: 409,
    sc.TokenBudgetExceededError: 409,
    sc.UnavailableError: 503,
    sc.ThrottledError: 503,
}


@app.exception_handler(sc.SessionContinuityError)
async def told(_: Request, error: sc.SessionContinuityError) -> JSONResponse:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error) if status < 500 else type(error).__name__}, status)
