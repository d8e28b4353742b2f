"""Many conversations at once, in one event loop: `AsyncSessionManager` has the methods of `SessionManager`, awaited."""

import asyncio

from session_continuity import AsyncSessionManager, Session


async def answer(question: str) -> str:
    """Stands for a call of a model."""
    await asyncio.sleep(0)
    return f"About {question}: it is on its way."


async def chat(manager: AsyncSessionManager, customer: str) -> Session:
    session = await manager.create_session(user_id=customer)
    for question in ("my order", "my refund"):
        await manager.add_message(session.id, role="user", content=question)
        await manager.add_message(session.id, role="assistant", content=await answer(question))
    return await manager.get_session(session.id)


async def main() -> None:
    async with AsyncSessionManager.open("memory://") as manager:
        sessions = await asyncio.gather(*(chat(manager, f"customer-{number}") for number in range(5)))
        for session in sessions:
            print(f"{session.user_id}: {session.message_count} messages")

        # Writers of one session do not get in each other's way, and none of their messages is lost.
        shared = sessions[0].id
        notes = [manager.add_message(shared, role="user", content=f"note {number}") for number in range(50)]
        await asyncio.gather(*notes)
        print(f"after 50 parallel notes: {(await manager.get_session(shared)).message_count} messages")


asyncio.run(main())
