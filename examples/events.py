"""Listening: what happens to sessions, told after it happened. A handler that fails breaks no write."""

from collections import Counter

from session_continuity import ErrorOccurred, Event, MessageAdded, SessionManager

tokens: Counter[str] = Counter()


def bill(event: MessageAdded) -> None:
    tokens[event.session_id] += event.token_count


def forgetful(event: Event) -> None:
    raise LookupError(f"no idea what to do about {event.type}")


def log(event: Event) -> None:
    facts = f" by {event.source}: {event.error}" if isinstance(event, ErrorOccurred) else ""
    print(f"{event.type}{facts}")


with SessionManager.open("memory://") as manager:
    manager.on(Event, log)  # every event
    manager.on(MessageAdded, bill)  # one kind, by its class
    manager.on("session:ended", forgetful)  # or by its name

    session = manager.create_session()
    manager.add_message(session.id, role="user", content="How are you?")
    manager.add_message(session.id, role="assistant", content="Fine, thank you!")
    manager.update_session(session.id, metadata={"title": "Small talk"})
    manager.end_session(session.id)

    manager.off(Event, log)
    manager.delete_session(session.id)
    print(f"billed: {tokens[session.id]} tokens")
