"""What goes into the keys comes out the same: property tests without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings, strategies as st
from pydantic import TypeAdapter

from session_continuity import SESSION_FIELDS, Message, Session, SessionFilter, format_timestamp
from session_continuity.models import MessageMetadata, SessionMetadata
from session_continuity_redis import codec, scripts
from session_continuity_redis.keys import Keys, entry_of, facts_of, id_of, merge

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = texts.filter(lambda text: 1 <= len(text.encode()) <= 256)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
messages = st.builds(
    lambda id, at, role, tokens, content, notes: Message(
        id=id,
        session_id="s",
        role=role,
        content=content,
        token_count=tokens,
        created_at=at,
        metadata=MessageMetadata(annotations=notes),
    ),
    ids,
    moments,
    st.sampled_from(scripts.ROLES),
    st.none() | st.integers(0, 2**40),
    texts | st.lists(st.fixed_dictionaries({"type": st.just("x"), "value": json_values}), min_size=1, max_size=2),
    st.dictionaries(texts, json_values, max_size=3),
)
sessions = st.builds(
    lambda id, at, user, tags, custom: Session(
        id=id,
        created_at=at,
        last_activity_at=at,
        user_id=user,
        metadata=SessionMetadata(tags=tags, custom=custom),
    ),
    ids,
    moments,
    st.none() | ids,
    st.lists(texts, max_size=3),
    st.dictionaries(texts, json_values, max_size=3),
)


@settings(deadline=None)
@given(messages)
def test_a_message_comes_back_and_shows_its_head_at_fixed_columns(message: Message) -> None:
    body = codec.message_body(message)
    assert codec.read_message("s", message.id, body.encode()) == message
    assert codec.readable_messages([body.encode(), b"{" + body.encode()]) == [message, None]
    assert body[15:39] == format_timestamp(message.created_at)
    assert body[41:].startswith(f'"token_count":{"null" if message.token_count is None else message.token_count},')


@settings(deadline=None)
@given(sessions)
def test_a_sessions_pieces_make_the_session(session: Session) -> None:
    listed = codec.session_fragments(session)
    at = format_timestamp(session.last_activity_at)
    document = ("{" + ",".join(map(str, listed[1::2])) + f',"last_activity_at":"{at}"' + "}").encode()
    assert codec.readable_sessions(document, [len(document)]) == [session]
    documents = [document, b'{"id":"a"},{"id":"b"', document]
    assert codec.readable_sessions(b",".join(documents), list(map(len, documents))) == [session, None, session]
    assert listed[::2] == sorted(set(listed[::2]), key=lambda code: int(code))


@given(sessions)
def test_an_entry_gives_back_the_id_and_orders_as_the_contract_says(session: Session) -> None:
    assert id_of(entry_of(session)) == session.id
    facts = TypeAdapter(list[str]).validate_json(facts_of(session))
    assert facts[0] == entry_of(session)
    assert len(set(facts)) == len(facts)


@given(st.tuples(ids, ids), st.tuples(texts, texts), st.integers(1, 9))
def test_keys_of_two_sessions_or_two_namespaces_differ(pair: tuple[str, str], spaces: tuple[str, str], n: int) -> None:
    one, other = (Keys("sc", space, n) for space in spaces)
    assert (one.session(pair[0]) == one.session(pair[1])) == (pair[0] == pair[1])
    assert (one.session(pair[0]) == other.session(pair[0])) == (spaces[0] == spaces[1])
    assert set(one.index()).isdisjoint(other.index()) or spaces[0] == spaces[1]
    key = one.session(pair[0])
    assert key.count("{") == key.count("}") == 1
    assert one.index_of(pair[0]) in one.index()


def test_every_field_that_an_update_names_has_its_number() -> None:
    assert set(scripts.FIELDS) == (SESSION_FIELDS - {"status"}) | {"id", "created_at", "creation_token", "forked_from"}
    assert scripts.FIELDS[:4] == ("id", "created_at", "user_id", "active_agent_id")


def test_several_lists_merge_down_to_where_all_were_read() -> None:
    assert merge([["d", "b", "a"], ["d", "c"]], ["b"], is_downwards=True) == (["d", "c", "b"], "b")
    assert merge([["a", "b", "d"], ["c", "d"]], ["d", "c"], is_downwards=False) == (["a", "b", "c"], "c")
    assert merge([["a"], ["b"]], [], is_downwards=True) == (["b", "a"], None)


def test_bounds_keep_their_meaning_at_millisecond_precision() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=5)
    finer = moment + timedelta(microseconds=1)
    assert codec.not_before(moment) == codec.not_after(moment) == codec.not_after(finer) == format_timestamp(moment)
    assert codec.not_before(finer) == format_timestamp(moment + timedelta(milliseconds=1))
    assert codec.moment(codec.milliseconds(moment)) == moment
    assert SessionFilter(created_after=moment).created_after == moment
