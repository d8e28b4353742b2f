"""An extension: a token counter, a compression strategy, an audit trail. Installed ones are found by entry point."""

from collections.abc import Callable, Sequence

from session_continuity import (
    CompressionConfig,
    CompressionPlan,
    CompressionStrategy,
    Event,
    Message,
    Registry,
    SessionManager,
    hookimpl,
)


def words(text: str) -> int:
    return len(text.split())


def keep_last(
    messages: Sequence[Message], _tokens: Sequence[int], _room: int, config: CompressionConfig, /
) -> CompressionPlan:
    return CompressionPlan(count=max(len(messages) - config["keep"], 0), summarize=False)


class Extension:
    def __init__(self) -> None:
        self.trail: list[str] = []

    @hookimpl
    def sc_token_counter(self, model: str) -> Callable[[str], int] | None:
        return words if model == "word-model" else None

    @hookimpl
    def sc_compression_strategies(self) -> dict[str, CompressionStrategy]:
        return {"keep_last": keep_last}

    @hookimpl
    def sc_on_event(self, event: Event) -> None:
        self.trail.append(event.type)


registry = Registry()
extension = Extension()
registry.register_extension(extension, "example")

compression = {"strategy": "keep_last", "keep": 2}
with SessionManager.open(
    "memory://", registry=registry, token_counter="word-model", compression=compression
) as manager:
    session = manager.create_session()
    for number in range(6):
        manager.add_message(session.id, role="user", content=f"this is message {number}")
    print("tokens:", manager.get_session(session.id).token_count)
    print("compressed:", manager.compress_context(session.id).compressed_messages)
    print("context:", [message.content for message in manager.get_conversation_context(session.id)])
print("trail:", ", ".join(sorted(set(extension.trail))))
