"""A turn that is stored once, however often it is sent: ids of your own make every retry safe, also after a crash."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from session_continuity import NewMessage, SessionManager, ValidationError

TURN = [
    NewMessage(id="request-17/question", role="user", content="Cancel my order."),
    NewMessage(id="request-17/answer", role="assistant", content="It is cancelled."),
]


def handle(url: str, delivery: int) -> None:
    """What a worker does with a request. The first two die before they can say that they are done."""
    with SessionManager.open(url) as manager:
        manager.add_messages("chat-1", TURN)
    if delivery < 3:
        raise ConnectionError("the queue never hears of it, and delivers again")


with TemporaryDirectory() as folder:
    url = f"sqlite:///{Path(folder, 'chat.db')}"
    with SessionManager.open(url) as manager:
        manager.create_session(id="chat-1")

    for delivery in (1, 2, 3):
        with suppress(ConnectionError):
            handle(url, delivery)

    with SessionManager.open(url) as manager:
        print([message.content for message in manager.iter_messages("chat-1")])
        try:
            manager.add_message("chat-1", role="user", content="Something else.", id="request-17/question")
        except ValidationError as refused:
            print("refused:", str(refused).split(";")[0])
