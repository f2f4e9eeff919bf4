import asyncio

from spanloom.gateway.room import Room


def test_who_finds_no_room_waits_for_others_to_leave_in_the_order_in_which_they_came() -> None:
    async def story() -> list[str]:
        room, entered = Room(100), list[str]()

        async def one(name: str, size: int) -> None:
            assert await room.enter(size, 5)
            entered.append(name)

        await one("a", 60)
        waiting = [asyncio.create_task(one(name, size)) for name, size in (("large", 80), ("small", 10))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert entered == ["a"]  # the small one would fit, but then the large one might wait for ever
        room.leave(60)
        await asyncio.gather(*waiting)
        return entered

    assert asyncio.run(story()) == ["a", "large", "small"]


def test_what_is_larger_than_the_room_has_it_alone() -> None:
    async def story() -> None:
        room = Room(100)
        assert await room.enter(1000, 0.01)
        assert not await room.enter(1, 0.01)
        room.leave(1000)
        assert await room.enter(100, 0.01)

    asyncio.run(story())


def test_who_gives_up_or_is_cancelled_takes_no_room() -> None:
    async def story() -> None:
        room = Room(100)
        assert await room.enter(100, 0.01)
        assert not await room.enter(50, 0.01)
        left = asyncio.create_task(room.enter(50, 5))
        lucky = asyncio.create_task(room.enter(100, 5))
        await asyncio.sleep(0)
        left.cancel()
        room.leave(100)
        lucky.cancel()  # its turn came, but it does not know yet
        await asyncio.gather(left, lucky, return_exceptions=True)
        assert left.cancelled()
        assert lucky.cancelled()
        assert await room.enter(100, 0.01)

    asyncio.run(story())
