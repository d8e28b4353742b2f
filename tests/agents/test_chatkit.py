"""ChatKit: its real server, whose answers are scripted, on every store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from typing import Any

import pytest
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    CustomTask,
    EndOfTurnItem,
    FileAttachment,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    ImageAttachment,
    InferenceOptions,
    SDKHiddenContextItem,
    StructuredInputFreeform,
    StructuredInputItem,
    TaskItem,
    ThoughtTask,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadMetadata,
    URLSource,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    Workflow,
    WorkflowItem,
)

from session_continuity import ValidationError, to_anthropic
from session_continuity_agents.chatkit import ChatKitStore, messages_of

from .stores import cancel_at, gated, metered

MEMORY = pytest.mark.on(url=["memory"])
ADA, GRACE = {"user_id": "ada"}, {"user_id": "grace"}
NOW = datetime(2026, 5, 4, 3, 2, 1, 123456)


def said(text: str, thread: ThreadMetadata | str = "t", id: str = "a") -> AssistantMessageItem:
    content = [AssistantMessageContent(text=text)]
    thread_id = thread if isinstance(thread, str) else thread.id
    return AssistantMessageItem(id=id, thread_id=thread_id, created_at=NOW, content=content)


def asked(text: str, id: str = "q", **more: Any) -> UserMessageItem:
    content: Any = [UserMessageTextContent(text=text)]
    about: Any = {"id": id, "thread_id": "t", "created_at": NOW, "inference_options": InferenceOptions(), **more}
    return UserMessageItem(**{"content": content, **about})


class Server(ChatKitServer[Any]):
    """Answers a question with what `answer` yields, or with its text in capitals."""

    def __init__(self, store: ChatKitStore[Any], answer: Callable[..., AsyncIterator[Any]] | None = None) -> None:
        super().__init__(store)
        self.answer = answer

    async def respond(self, thread: ThreadMetadata, input_user_message: Any, context: Any) -> AsyncIterator[Any]:
        if self.answer is not None:
            async for event in self.answer(thread):
                yield event
            return
        text = "done" if input_user_message is None else input_user_message.content[0].text.upper()
        id = self.store.generate_item_id("message", thread, context)
        yield ThreadItemDoneEvent(item=said(text, thread, id))

    async def ask(self, kind: str, context: Any = ADA, **params: Any) -> Any:
        """The events of a request, or its answer."""
        result = await self.process(json.dumps({"type": kind, "params": params}), context)
        if not isinstance(result, StreamingResult):
            return json.loads(result.json)
        return [json.loads(event.removeprefix(b"data: ")) async for event in result]

    async def begin(self, text: str, context: Any = ADA) -> str:
        """Create a thread with a question, and return its id."""
        events = await self.ask("threads.create", context, input=words(text))
        id: str = next(event["thread"]["id"] for event in events if event["type"] == "thread.created")
        return id

    async def go_on(self, thread: str, text: str, **more: Any) -> Any:
        return await self.ask("threads.add_user_message", thread_id=thread, input={**words(text), **more})


def words(text: str) -> dict[str, Any]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


def is_said(item: Any) -> bool:
    return item.type in ("user_message", "assistant_message")


async def texts(store: ChatKitStore[Any], thread: str, order: str = "asc") -> list[str]:
    """The texts of all items, read page by page."""
    found, after = [], None
    while True:
        page = await store.load_thread_items(thread, after, 20, order, ADA)
        found += [part.text for item in page.data if is_said(item) for part in item.content]
        if (after := page.after) is None:
            return found


def on(url: str, use: Callable[[ChatKitStore[Any]], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `use` with a store that has one thread, "t", of Ada."""

    async def main() -> None:
        async with ChatKitStore(url=url, **options) as store:
            await store.save_thread(ThreadMetadata(id="t", created_at=NOW), ADA)
            await use(store)

    asyncio.run(main())


def test_a_conversation_goes_on_in_another_loop(url: str) -> None:
    first, ids = ChatKitStore[Any](url=url), list[str]()

    async def begin() -> None:
        ids.append(await Server(first).begin("hi"))

    async def go_on() -> None:
        async with ChatKitStore(url=url) as store:
            server = Server(store)
            await server.go_on(ids[0], "more")
            await server.ask("threads.update", thread_id=ids[0], title="Greetings")
            thread = await server.ask("threads.get_by_id", thread_id=ids[0])
            assert thread["title"] == "Greetings"
            assert [item["content"][0]["text"] for item in thread["items"]["data"]] == ["hi", "HI", "more", "MORE"]
            session = await store.manager.get_session(store.conversation_id("ada", ids[0]))
            assert (session.user_id, session.metadata.title, session.metadata.source) == ("ada", "Greetings", "chatkit")
            await server.ask("threads.delete", thread_id=ids[0])
            assert (await server.ask("threads.list"))["data"] == []
        await first.aclose()

    asyncio.run(begin())
    asyncio.run(go_on())


def test_threads_are_listed_in_both_orders_page_by_page(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        server = Server(store)
        ids = ["t", *[await server.begin(f"{n}") for n in range(4)]]
        await server.begin("of another user", GRACE)
        for order, expected in (("asc", ids), ("desc", ids[::-1])):
            found, after = list[str](), None
            while True:
                page = await server.ask("threads.list", limit=2, order=order, **({"after": after} if after else {}))
                found += [thread["id"] for thread in page["data"]]
                if not page["has_more"]:
                    break
                after = page["after"]
            assert found == expected
        with pytest.raises(NotFoundError):
            await store.load_threads(2, "gone", "asc", ADA)

    on(url, use)


def test_items_are_read_in_both_orders_page_by_page(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        server = Server(store)
        for n in range(30):
            await server.go_on("t", f"q{n}")
        expected = [text for n in range(30) for text in (f"q{n}", f"Q{n}")]
        assert await texts(store, "t") == expected
        assert await texts(store, "t", "desc") == expected[::-1]

    on(url, use)


def test_a_user_cannot_reach_what_is_anothers(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        await store.add_thread_item("t", said("hi"), ADA)
        await store.save_attachment(FileAttachment(id="f", name="f", mime_type="text/plain"), ADA)
        for call in (
            store.load_thread("t", GRACE),
            store.load_item("t", "a", GRACE),
            store.add_thread_item("t", said("mine"), GRACE),
            store.save_item("t", said("mine"), GRACE),
            store.load_attachment("f", GRACE),
        ):
            with pytest.raises(NotFoundError):
                await call
        assert (await store.load_thread_items("t", None, 9, "asc", GRACE)).data == []
        await store.delete_thread_item("t", "a", GRACE)
        await store.delete_attachment("f", GRACE)
        await store.delete_thread("t", GRACE)
        assert await store.load_item("t", "a", ADA) == said("hi")
        assert (await store.load_attachment("f", ADA)).name == "f"

    on(url, use)


@MEMORY
def test_a_context_without_a_user_is_refused(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        for context in (None, {}, {"user_id": ""}, {"user_id": 7}, object()):
            with pytest.raises(ValidationError, match="user_of"):
                await store.load_thread("t", context)

    on(url, use)


@MEMORY
def test_the_user_of_a_context_can_be_somewhere_else(url: str) -> None:
    async def main() -> None:
        async with ChatKitStore[str](url=url, user_of=lambda context: context) as store:
            await store.save_thread(ThreadMetadata(id="t", created_at=NOW), "ada")
            session = await store.manager.get_session(store.conversation_id("ada", "t"))
            assert session.user_id == "ada"

    asyncio.run(main())


def call(**changes: Any) -> ClientToolCallItem:
    about: dict[str, Any] = {"id": "c", "thread_id": "t", "created_at": NOW, "call_id": "call-1", "name": "theme"}
    return ClientToolCallItem(**{**about, "arguments": {"dark": True}, **changes})


def test_a_tool_in_the_browser_is_answered_and_others_read_the_call(url: str) -> None:
    async def ask_browser(_: ThreadMetadata) -> AsyncIterator[Any]:
        yield ThreadItemDoneEvent(item=call())

    async def use(store: ChatKitStore[Any]) -> None:
        await Server(store, ask_browser).go_on("t", "dark please")
        assert await store.load_item("t", "c", ADA) == call()
        await Server(store).ask("threads.add_client_tool_output", thread_id="t", result={"dark": True})
        assert await store.load_item("t", "c", ADA) == call(status="completed", output={"dark": True})
        context = await store.manager.get_conversation_context(store.conversation_id("ada", "t"))
        written = to_anthropic(context)["messages"]
        kinds = [block["type"] for message in written[1:3] for block in message["content"]]
        assert kinds == ["tool_use", "tool_result"]
        assert written[-1]["content"] == "done"

    on(url, use)


@MEMORY
def test_a_call_that_the_browser_did_not_answer_is_removed_with_the_answer_to_another(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        await store.add_thread_item("t", call(id="old", call_id="old"), ADA)
        await store.add_thread_item("t", call(), ADA)
        await Server(store).ask("threads.add_client_tool_output", thread_id="t", result=None)
        assert (await store.load_item("t", "c", ADA)).status == "completed"  # type: ignore[union-attr]
        with pytest.raises(NotFoundError):
            await store.load_item("t", "old", ADA)

    on(url, use)


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_few_requests(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            store = ChatKitStore[Any](manager=manager)
            server = Server(store)
            await store.load_thread_items(await server.begin("warm"), None, 20, "asc", ADA)
            await store.load_threads(20, None, "desc", ADA)
            with meter.count(counted):
                thread = await server.begin("hi")
            for _ in range(2):
                with meter.count(counted):
                    await server.go_on(thread, "more")
            with meter.count(counted):
                await store.load_threads(20, None, "desc", ADA)
            with meter.count(counted):
                await store.load_thread_items(thread, None, 20, "asc", ADA)
        return counted

    assert asyncio.run(main()) == [4, 3, 3, 1, 1]


@MEMORY
def test_what_was_streamed_until_a_cancellation_is_stored(url: str) -> None:
    reached = asyncio.Event()

    async def half(thread: ThreadMetadata) -> AsyncIterator[Any]:
        yield ThreadItemAddedEvent(item=said("half", thread))
        reached.set()
        await asyncio.Event().wait()

    async def use(store: ChatKitStore[Any]) -> None:
        turn = asyncio.ensure_future(Server(store, half).go_on("t", "tell me"))
        await reached.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert await texts(store, "t") == ["tell me", "half"]
        context = await store.manager.get_conversation_context(store.conversation_id("ada", "t"))
        assert "cancelled" in str(context[-1].content)
        await Server(store).go_on("t", "again")
        assert (await texts(store, "t"))[-2:] == ["again", "AGAIN"]

    on(url, use)


@MEMORY
def test_a_cancelled_write_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            store = ChatKitStore[Any](manager=manager)
            await store.save_thread(ThreadMetadata(id="t", created_at=NOW), ADA)
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, store.add_thread_item("t", said("hi"), ADA))
            assert await texts(store, "t") == ["hi"]

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis"])
def test_a_process_that_is_killed_in_an_answer_leaves_a_thread_that_goes_on(url: str) -> None:
    program = f"""if True:
        import asyncio
        from tests.agents.test_chatkit import ChatKitStore, Server, die, on
        async def use(store):
            await Server(store).go_on("t", "first")
            await Server(store, die).go_on("t", "second")
        on({url!r}, use)
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr

    async def use(store: ChatKitStore[Any]) -> None:
        await Server(store).go_on("t", "third")
        assert await texts(store, "t") == ["first", "FIRST", "second", "third", "THIRD"]

    on(url, use)


async def die(thread: ThreadMetadata) -> AsyncIterator[Any]:
    """An answer that ends the process."""
    yield ThreadItemAddedEvent(item=said("half", thread))
    os.kill(os.getpid(), signal.SIGKILL)


def test_two_writers_lose_nothing_and_double_nothing(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        async def run(name: str) -> None:
            for n in range(10):
                await Server(store).go_on("t", f"{name}{n}")

        await asyncio.gather(run("a"), run("b"))
        expected = [text for name in "ab" for n in range(10) for text in (f"{name}{n}", f"{name}{n}".upper())]
        assert sorted(await texts(store, "t")) == sorted(expected)

    on(url, use)


def test_writers_that_save_a_new_thread_at_once_leave_one(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        thread = ThreadMetadata(id="new", created_at=NOW, title="New", metadata={"a": [1, None]})
        await asyncio.gather(*(store.save_thread(thread, ADA) for _ in range(8)))
        assert await store.load_thread("new", ADA) == thread
        assert len((await store.load_threads(9, None, "asc", ADA)).data) == 2

    on(url, use)


PLACE: dict[str, Any] = {"thread_id": "t", "created_at": NOW}
TAG = UserMessageTagContent(id="tag", text="@order", data={"n": [1.0, None]}, interactive=True)
SOURCE = Annotation(source=URLSource(title="A page", url="https://x/y"), index=3)
ODD: list[Any] = [
    asked("plain"),
    asked("quoting", "q2", quoted_text="one\ntwo"),
    asked("lone \ud800 surrogate", "q3", attachments=[FileAttachment(id="f", name="f", mime_type="text/plain")]),
    asked("", "q4", content=[TAG, UserMessageTextContent(text="is late")]),
    asked("", "x" * 300),
    said("plain"),
    said("", id="a2"),
    AssistantMessageItem(id="a3", **PLACE, content=[AssistantMessageContent(text="see", annotations=[SOURCE])]),
    AssistantMessageItem(id="a4", **PLACE, content=[]),
    AssistantMessageItem(id="a5", **PLACE, content=[AssistantMessageContent(text=text) for text in ("one", "two")]),
    call(),
    ClientToolCallItem(id="c2", **PLACE, call_id="2", name="f", arguments={}, status="completed", output=[1.5]),
    GeneratedImageItem(id="g", **PLACE, image=GeneratedImage(id="i", url="https://x/i.png")),
    GeneratedImageItem(id="g2", **PLACE),
    StructuredInputItem(id="s", **PLACE, inputs=[StructuredInputFreeform(id="1", question="Why?")]),
    WorkflowItem(id="w", **PLACE, workflow=Workflow(type="reasoning", tasks=[ThoughtTask(content="hm")])),
    TaskItem(id="k", **PLACE, task=CustomTask(title="Look")),
    HiddenContextItem(id="h", **PLACE, content={"any": ["hidden", 1]}),
    SDKHiddenContextItem(id="h2", **PLACE, content="cancelled"),
    EndOfTurnItem(id="e", **PLACE),
    said("of another thread", "other", "a6"),
]


def test_items_of_every_kind_come_back_equal(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        for item in ODD:
            await store.add_thread_item("t", item, ADA)
        assert (await store.load_thread_items("t", None, 99, "asc", ADA)).data == ODD
        page = await store.load_thread_items("t", ODD[4].id, 1, "asc", ADA)
        assert page.data == [ODD[5]]
        for item in ODD[:6]:
            assert await store.load_item("t", item.id, ADA) == item

    on(url, use)


@MEMORY
def test_a_model_gets_what_was_said_and_nothing_that_is_hidden(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        for item in ODD:
            await store.add_thread_item("t", item, ADA)
        context = await store.manager.get_conversation_context(store.conversation_id("ada", "t"))
        written = json.dumps(to_anthropic(context))
        for text in ("plain", "> one", "@order", "theme", "see", "cancelled"):
            assert text in written
        for text in ("hidden", "Why?", "hm"):
            assert text not in written

    on(url, use)


@MEMORY
def test_what_others_write_is_shown_but_for_their_calls(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        called: Any = {"tool_calls": [{"id": "x", "name": "look", "arguments": {}}]}
        answered: Any = {"tool_results": [{"tool_call_id": "x", "result": "blue"}]}
        image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
        turn: list[Any] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What color?"}, image]},
            {"role": "assistant", "content": "", "metadata": called},
            {"role": "tool", "content": "", "metadata": answered},
            {"role": "assistant", "content": "Blue."},
        ]
        key = store.conversation_id("ada", "t")
        added = await store.manager.add_messages(key, turn * 3)
        assert await texts(store, "t") == ["What color?", "Blue."] * 3
        page = await store.load_thread_items("t", None, 3, "desc", ADA)
        assert [item.type for item in page.data] == ["assistant_message", "user_message", "assistant_message"]
        assert page.has_more
        assert page.data[0].id == added[-1].id
        with pytest.raises(NotFoundError):
            await store.load_item("t", added[2].id, ADA)
        await Server(store).go_on("t", "Sure?")
        assert len(await texts(store, "t")) == 8

    on(url, use)


@MEMORY
def test_an_edited_message_is_shown_as_edited(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        for item in (asked("secret"), call()):
            await store.add_thread_item("t", item, ADA)
        key = store.conversation_id("ada", "t")
        await store.manager.update_message(key, "q", content="removed")
        await store.manager.update_message(key, "c", metadata={"annotations": {}}, content="changed")
        page = await store.load_thread_items("t", None, 9, "asc", ADA)
        assert "secret" not in page.model_dump_json()
        assert [item.content[0].text for item in page.data] == ["removed", "changed"]  # type: ignore[union-attr]

    on(url, use)


def test_attachments_are_stored_with_the_thread_that_they_belong_to(url: str) -> None:
    image: Any = ImageAttachment(
        id="i", name="i.png", mime_type="image/png", preview_url="https://x/i", metadata={"a": 1}
    )  # type: ignore[arg-type]

    async def use(store: ChatKitStore[Any]) -> None:
        await store.save_attachment(image, ADA)
        assert await store.load_attachment("i", ADA) == image
        await Server(store).go_on("t", "see", attachments=["i"])
        assert await store.load_attachment("i", ADA) == image.model_copy(update={"thread_id": "t"})
        [question, _] = (await store.load_thread_items("t", None, 9, "asc", ADA)).data
        assert question.attachments[0].name == "i.png"  # type: ignore[union-attr]
        assert len((await store.load_threads(9, None, "asc", ADA)).data) == 1
        await store.delete_attachment("i", ADA)
        with pytest.raises(NotFoundError):
            await store.load_attachment("i", ADA)
        await store.save_attachment(image, ADA)
        receipt = await store.manager.erase_user("ada")
        assert len(receipt.sessions) == 2

    on(url, use)


def test_an_answer_is_found_wherever_it_is_and_leaves_with_its_call(url: str) -> None:
    done: dict[str, Any] = {"status": "completed", "output": {"is": ["dark", None]}}

    async def use(store: ChatKitStore[Any]) -> None:
        for item in (call(), call(id="d", call_id="2"), said("between")):
            await store.add_thread_item("t", item, ADA)
        await store.save_item("t", call(**done), ADA)
        await store.save_item("t", call(id="d", call_id="2", **{**done, "output": None}), ADA)
        expected = [call(**done), call(id="d", call_id="2", status="completed"), said("between")]
        for order, items in (("asc", expected), ("desc", expected[::-1])):
            found, after = list[Any](), None
            while True:
                page = await store.load_thread_items("t", after, 1, order, ADA)
                found += page.data
                if (after := page.after) is None:
                    break
            assert found == items
        await store.save_item("t", call(status="completed", output="other"), ADA)
        assert (await store.load_item("t", "c", ADA)).output == "other"  # type: ignore[union-attr]
        await store.save_item("t", call(), ADA)
        assert await store.load_item("t", "c", ADA) == call()
        await store.delete_thread_item("t", "d", ADA)
        key = store.conversation_id("ada", "t")
        assert [message.id for message in await store.manager.get_messages(key)] == ["c", "a"]

    on(url, use)


def test_a_message_has_the_texts_of_its_item_once() -> None:
    [message] = messages_of(asked("words"), "t")
    assert message.model_dump_json().count("words") == 1


@MEMORY
def test_what_the_application_keeps_of_a_session_stays(url: str) -> None:
    async def use(store: ChatKitStore[Any]) -> None:
        key = store.conversation_id("ada", "t")
        await store.manager.update_metadata(key, custom={"mine": 1})
        await store.save_thread(ThreadMetadata(id="t", created_at=NOW, title="New", metadata={"x": 1}), ADA)
        await store.save_thread(ThreadMetadata(id="t", created_at=NOW, metadata={"y": 1}), ADA)
        thread = await store.load_thread("t", ADA)
        assert (thread.title, thread.metadata) == (None, {"y": 1})
        assert (await store.manager.get_session(key)).metadata.custom["mine"] == 1

    on(url, use)
