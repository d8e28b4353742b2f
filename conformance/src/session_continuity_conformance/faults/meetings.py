"""Every kind of write with what another client may do to the same session before it is sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from session_continuity import (
    ForkedFrom,
    Message,
    MessageQuery,
    Participant,
    Patch,
    Session,
    SessionMetadata,
)
from session_continuity_conformance.concurrency.orders import Step
from session_continuity_conformance.store_fixture import FAR, StoreFixture

__all__ = ["MEETINGS", "Maker", "Meeting", "meetings_of", "writes_in_steps_of"]


@dataclass(frozen=True, slots=True)
class Meeting:
    """A write, the calls that prepare it, and those of another client meanwhile. It is about these sessions."""

    name: str
    sessions: tuple[str, ...]
    before: tuple[Step, ...]
    write: Step
    meanwhile: tuple[Step, ...]

    def looks(self) -> Iterator[Step]:
        """The calls that read everything that the meeting is about."""
        for session_id in self.sessions:
            yield Step("get_session", (session_id,))
            yield Step("get_messages", (session_id, MessageQuery()))


Maker = Callable[[StoreFixture], Meeting]


class _Talk:
    """A session that is created with messages, and calls on it."""

    def __init__(self, store: StoreFixture) -> None:
        self._store = store
        self.session = store.new_session(user_id="user", metadata=SessionMetadata(title="old", tags=["old"]))
        self.id = self.session.id
        self.first, self.second = self.message("first", role="system"), self.message("second")
        self.before = (self.create(), self.append(self.first), self.append(self.second))

    def message(self, content: str, *, role: str = "user", id: str | None = None) -> Message:
        """A message of this session with an id that the caller chose."""
        name = id or self._store.new_id("m")
        return self._store.message(self.id, content, role=role, id=name, tokens=len(content))  # type: ignore[arg-type]

    def append(self, *batch: Message, **terms: object) -> Step:
        """An append with ids that the caller chose."""
        return Step("append_messages", (self.id, batch), {"client_ids": [each.id for each in batch], **terms})

    def append_minted(self, content: str) -> Step:
        """An append whose id the caller did not choose."""
        return Step("append_messages", (self.id, (self._store.message(self.id, content, tokens=len(content)),)))

    def create(self) -> Step:
        """The creation of the session."""
        return Step("create_session", (self.session,))

    def update(self, patch: Patch, **condition: int) -> Step:
        """An update of the session."""
        return Step("update_session", (self.id, patch), condition)

    def edit(self, message: Message, content: str) -> Step:
        """An edit of a message, which also changes its tokens."""
        patch = Patch({"content": content, "token_count": len(content), "updated_at": self._store.tick()})
        return Step("update_message", (self.id, message.id, patch))

    def remove(self, message: Message) -> Step:
        """The removal of a message."""
        return Step("delete_message", (self.id, message.id))

    def clear(self) -> Step:
        """The removal of all messages."""
        return Step("delete_all_messages", (self.id,))

    def delete(self, **condition: int) -> Step:
        """The removal of the session."""
        return Step("delete_session", (self.id,), condition)

    def create_anew(self, *, delete: bool = True) -> tuple[Step, ...]:
        """What somebody does who uses the id for another session."""
        theirs = self._store.new_session(id=self.id, user_id="theirs")
        steps = (Step("create_session", (theirs,)), self.append(self.message("theirs")))
        return (self.delete(), *steps) if delete else steps

    def meeting(self, name: str, write: Step, *meanwhile: Step) -> Meeting:
        """A meeting in this session."""
        return Meeting(name, (self.id,), self.before, write, meanwhile)

    def fork(self) -> Session:
        """A session that is a fork of this one, not yet created."""
        return self._store.new_session(user_id="user", forked_from=ForkedFrom(session_id=self.id))


def _titled(title: str) -> Patch:
    return Patch({"metadata": SessionMetadata(title=title)})


def _people(*ids: str) -> Patch:
    joined = FAR - timedelta(days=1)
    return Patch({"participants": [Participant(id=each, joined_at=joined) for each in ids]})


def _create_and_delete(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    return Meeting("create_session while it is deleted", (talk.id,), (), talk.create(), (talk.delete(),))


def _create_and_anew(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    return Meeting("create_session while the id is used anew", (talk.id,), (), talk.create(), talk.create_anew())


def _append_and_clear(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    batch = (talk.message("one"), talk.message("two"))[: store.capabilities.max_batch]
    return talk.meeting("append_messages while all are removed", talk.append(*batch), talk.clear())


def _append_and_edit(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    sent = talk.message("draft")
    edits = talk.edit(sent, "final"), talk.remove(talk.second)
    return talk.meeting("append_messages while the message is edited", talk.append(sent), *edits)


def _minted_append_and_remove(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.append_minted("one")
    return talk.meeting("append_messages of a minted id while others remove", write, talk.remove(talk.second))


def _append_and_anew(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.append(talk.message("one"))
    return talk.meeting("append_messages while the session is made anew", write, *talk.create_anew())


def _turn_and_update(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    patch = Patch({"user_id": "mine", "metadata": SessionMetadata(title="mine", tags=["mine"])})
    write = talk.append(talk.message("one"), patch=patch, expected_version=1, expected_last_id=talk.second.id)
    return talk.meeting("append_messages with terms while others update", write, talk.update(_titled("theirs")))


def _first_turn_and_anew(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.append(talk.message("one"), create=talk.session)
    return Meeting("append_messages that creates, while it is made anew", (talk.id,), (), write, talk.create_anew())


def _update_and_update(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.update(_titled("mine"))
    return talk.meeting("update_session while others update", write, talk.update(_titled("theirs")))


def _compare_and_update(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.update(_titled("mine"), expected_version=1)
    return talk.meeting("update_session of a version while others update", write, talk.update(_titled("theirs")))


def _update_and_anew(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.update(Patch({"status": "paused", "expires_at": FAR}))
    return talk.meeting("update_session of status and expiry while it is made anew", write, *talk.create_anew())


def _join_and_leave(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = talk.update(_people("ada", "bob"))
    return talk.meeting("update_session of participants while one is removed", write, talk.update(_people("bob")))


def _extend_and_end(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    meanwhile = talk.update(Patch(clear=frozenset({"expires_at"})))
    return talk.meeting(
        "update_session of expiry while it is cleared", talk.update(Patch({"expires_at": FAR})), meanwhile
    )


def _hand_over(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    labels = SessionMetadata(title="mine", tags=["mine"])
    write = talk.update(Patch({"user_id": "mine", "active_agent_id": "mine", "status": "paused", "metadata": labels}))
    meanwhile = talk.update(Patch({"user_id": "theirs", "status": "active"}))
    return talk.meeting("update_session of what listings filter by, while others do so", write, meanwhile)


def _edit_and_edit(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    return talk.meeting(
        "update_message while others edit", talk.edit(talk.second, "mine"), talk.edit(talk.second, "of others")
    )


def _edit_and_remove(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    return talk.meeting("update_message while it is removed", talk.edit(talk.second, "mine"), talk.remove(talk.second))


def _remove_and_append(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    again = talk.append(talk.message("again", id=talk.second.id))
    return talk.meeting("delete_message while the id is used anew", talk.remove(talk.second), again)


def _clear_and_append(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    return talk.meeting("delete_all_messages while others append", talk.clear(), talk.append(talk.message("later")))


def _delete_and_create(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    return talk.meeting("delete_session while the id is used anew", talk.delete(), *talk.create_anew(delete=False))


def _compare_and_delete(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write, meanwhile = talk.delete(expected_version=1), talk.create_anew(delete=False)
    return talk.meeting("delete_session of a version while the id is used anew", write, *meanwhile)


def _replace_and_append(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    batch = (talk.message("instead"),)
    write = Step("replace_tail", (talk.id, talk.first.id, batch), {"client_ids": [batch[0].id]})
    return talk.meeting("replace_tail while others append", write, talk.append(talk.message("later")))


def _owned_append_and_hand_over(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = replace(talk.append(talk.message("one")), owner="user")
    meanwhile = talk.update(Patch({"user_id": "theirs"}))
    return talk.meeting("append_messages of an owner while the session is handed over", write, meanwhile)


def _owned_update_and_hand_over(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = replace(talk.update(_titled("mine")), owner="user")
    meanwhile = talk.update(Patch({"user_id": "theirs"}))
    return talk.meeting("update_session of an owner while the session is handed over", write, meanwhile)


def _owned_edit_and_hand_over(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write = replace(talk.edit(talk.second, "mine"), owner="user")
    meanwhile = talk.update(Patch({"user_id": "theirs"}))
    return talk.meeting("update_message of an owner while the session is handed over", write, meanwhile)


def _owned_delete_and_anew(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    write, meanwhile = replace(talk.delete(), owner="user"), talk.create_anew(delete=False)
    return talk.meeting("delete_session of an owner while the id is used anew", write, *meanwhile)


def _fork_and_write(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    fork = talk.fork()
    message = store.message(fork.id, "theirs", id=store.new_id("m"))
    meanwhile = (
        talk.remove(talk.second),
        Step("append_messages", (fork.id, (message,)), {"client_ids": [message.id]}),
        Step("update_session", (fork.id, _titled("theirs"))),
    )
    write = Step("fork_session", (talk.id, fork))
    return Meeting("fork_session while others write", (talk.id, fork.id), talk.before, write, meanwhile)


def _fork_and_delete(store: StoreFixture) -> Meeting:
    talk = _Talk(store)
    fork = talk.fork()
    write, meanwhile = Step("fork_session", (talk.id, fork)), (Step("delete_session", (fork.id,)),)
    return Meeting("fork_session while the fork is deleted", (talk.id, fork.id), talk.before, write, meanwhile)


MEETINGS: Sequence[tuple[Maker, str | None]] = (
    (_create_and_delete, None),
    (_create_and_anew, None),
    (_append_and_clear, None),
    (_append_and_edit, None),
    (_minted_append_and_remove, None),
    (_append_and_anew, None),
    (_turn_and_update, "atomic_turns"),
    (_first_turn_and_anew, "atomic_turns"),
    (_update_and_update, None),
    (_compare_and_update, None),
    (_update_and_anew, None),
    (_join_and_leave, None),
    (_extend_and_end, None),
    (_hand_over, None),
    (_edit_and_edit, None),
    (_edit_and_remove, None),
    (_remove_and_append, None),
    (_clear_and_append, None),
    (_delete_and_create, None),
    (_compare_and_delete, "conditional_delete"),
    (_replace_and_append, "tail_replacement"),
    (_owned_append_and_hand_over, "owner_guard"),
    (_owned_update_and_hand_over, "owner_guard"),
    (_owned_edit_and_hand_over, "owner_guard"),
    (_owned_delete_and_anew, "owner_guard"),
    (_fork_and_write, "forks"),
    (_fork_and_delete, "forks"),
)
"""What makes each meeting in a new session, and the capability that it needs."""


_IN_STEPS = (
    _create_and_delete,
    _first_turn_and_anew,
    _turn_and_update,
    _hand_over,
    _extend_and_end,
    _delete_and_create,
    _fork_and_delete,
    _edit_and_edit,
    _remove_and_append,
    _clear_and_append,
    _replace_and_append,
)
"""Those whose write takes several steps in some stores: it changes what listings show, or totals beside a message."""


def meetings_of(store: StoreFixture) -> list[Maker]:
    """The meetings that this store can have."""
    return [make for make, needed in MEETINGS if needed is None or getattr(store.capabilities, needed)]


def writes_in_steps_of(store: StoreFixture) -> list[Maker]:
    """The meetings whose write takes several steps in some stores."""
    return [make for make in meetings_of(store) if make in _IN_STEPS]
