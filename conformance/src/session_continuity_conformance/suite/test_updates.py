"""OCC: the store compares versions and writes in one step, and no update is lost."""

from __future__ import annotations

from session_continuity import ConcurrencyError, Patch, SessionExistsError, SessionMetadata, StorageAdapter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import partition, present, refused, results, same
from session_continuity_conformance.store_fixture import StoreFixture

RACERS = 6
ROUNDS = 5


@clause("SC-OCC-001")
async def test_every_update_raises_the_version_by_one(store: StoreFixture) -> None:
    session = await store.create_session()
    for version in range(1, 5):
        expected = version if version % 2 else None
        patch = Patch({"user_id": f"u{version}"} if version < 4 else {})
        updated = await store.adapter.update_session(session.id, patch, expected_version=expected)
        same("version in the answer", updated.version, version + 1)
        same("version read back", (await store.current(session.id)).version, version + 1)


@clause("SC-OCC-002")
async def test_stale_update_is_refused_and_told_what_is_there(store: StoreFixture) -> None:
    session = await store.create_session(user_id="first")
    await store.adapter.update_session(session.id, Patch({"user_id": "second"}))
    await store.append(session.id, "counted")
    before = await store.current(session.id)
    for stale in (1, 3, 99):
        call = store.adapter.update_session(session.id, Patch({"user_id": "third"}), expected_version=stale)
        error = await refused(f"an update that expects version {stale}", call, ConcurrencyError)
        same("expected and actual version in the error", (error.expected, error.actual), (stale, 2))
        same("the session in the error", present("the session in the error", error.current), before)
    same("the session afterwards", await store.current(session.id), before)


@clause("SC-OCC-003")
async def test_one_of_several_updates_of_the_same_version_wins(store: StoreFixture) -> None:
    session = await store.create_session()
    for round_ in range(ROUNDS):
        await _race(store, session.id, round_ + 1, [store.adapter] * RACERS)


@clause("SC-OCC-007")
async def test_one_of_two_adapters_wins(store: StoreFixture) -> None:
    other = await store.open_second()
    session = await store.create_session()
    for round_ in range(ROUNDS):
        await _race(store, session.id, round_ + 1, [store.adapter, other, store.adapter, other])


async def _race(store: StoreFixture, session_id: str, version: int, adapters: list[StorageAdapter]) -> None:
    async def update(adapter: StorageAdapter, name: str) -> str:
        await adapter.update_session(session_id, Patch({"user_id": name}), expected_version=version)
        return name

    works = [lambda a=adapter, n=f"u{number}": update(a, n) for number, adapter in enumerate(adapters)]
    won, lost = partition("racing updates", await store.driver.gather(*works), ConcurrencyError)
    same("updates that succeeded and that were refused", (len(won), len(lost)), (1, len(adapters) - 1))
    found = await store.current(session_id)
    same("version and value afterwards", (found.version, found.user_id), (version + 1, won[0]))


@clause("SC-OCC-004")
async def test_concurrent_updates_of_different_fields_all_stay(store: StoreFixture) -> None:
    for _ in range(ROUNDS):
        session = await store.create_session()
        patches = [
            Patch({"user_id": "u"}),
            Patch({"active_agent_id": "a"}),
            Patch({"metadata": SessionMetadata(title="t")}),
            Patch({"status": "paused"}),
        ]
        works = [lambda p=patch, i=session.id: store.adapter.update_session(i, p) for patch in patches]
        results("concurrent updates", await store.driver.gather(*works))
        found = await store.current(session.id)
        values = (found.user_id, found.active_agent_id, found.metadata.title, found.status)
        same("fields set by concurrent updates", values, ("u", "a", "t", "paused"))
        same("version after four updates", found.version, 5)


@clause("SC-OCC-005")
async def test_appends_do_not_conflict_with_updates(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "a", "b")
    same("version after appends", (await store.current(session.id)).version, session.version)
    await store.adapter.update_session(session.id, Patch({"status": "paused"}), expected_version=session.version)


@clause("SC-OCC-005")
async def test_appends_beside_updates_lose_nothing(store: StoreFixture) -> None:
    session = await store.create_session()

    async def write() -> None:
        await store.append(session.id, *(str(number) for number in range(10)), tokens=2)

    async def update() -> None:
        for version in range(1, 11):
            patch = Patch({"metadata": SessionMetadata(title=str(version))})
            await store.adapter.update_session(session.id, patch, expected_version=version)

    results("appends beside updates", await store.driver.gather(write, update))
    found = await store.current(session.id)
    same("version, count and tokens", (found.version, found.message_count, found.token_count), (11, 10, 20))
    same("the last title", found.metadata.title, "10")


@clause("SC-OCC-006")
async def test_one_of_several_creates_wins(store: StoreFixture) -> None:
    for _ in range(ROUNDS):
        session_id = store.new_id()
        original = [store.new_session(id=session_id, user_id=f"u{number}") for number in range(RACERS)]
        works = [lambda s=session: store.adapter.create_session(s) for session in original]
        won, lost = partition("racing creates", await store.driver.gather(*works), SessionExistsError)
        same("creates that succeeded and that were refused", (len(won), len(lost)), (1, RACERS - 1))
        same("the session stored", await store.current(session_id), won[0])


@clause("SC-OCC-008")
async def test_session_is_whole_beside_updates(store: StoreFixture) -> None:
    session = await store.create_session(user_id="0", active_agent_id="0")

    async def update() -> None:
        for number in range(1, 16):
            patch = Patch({"user_id": str(number), "active_agent_id": str(number)})
            await store.adapter.update_session(session.id, patch)

    async def read() -> None:
        for _ in range(20):
            found = present("get_session beside updates", await store.adapter.get_session(session.id))
            whole = (found.user_id, found.active_agent_id, found.version)
            same("user, agent and version", whole, (str(found.version - 1), str(found.version - 1), found.version))

    results("readers beside updates", await store.driver.gather(update, read, read))
