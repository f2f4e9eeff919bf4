import asyncio
from random import Random

import pytest
from spanloom.gateway.room import Room


def test_who_finds_no_room_waits_for_others_to_leave_in_the_order_in_which_they_came() -> None:
    async def story() -> list[str]:
        room, entered = Room(100), list[str]()
        first = room.enter(60)
        assert await room.hold(first, 60, 5)

        async def one(name: str, size: int) -> None:
            assert await room.hold(room.enter(size), size, 5)
            entered.append(name)

        waiting = [asyncio.create_task(one(name, size)) for name, size in (("large", 80), ("small", 10))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (entered, room.wanted) == ([], True)  # the small one would fit, but then the large one might never
        room.leave(first)
        await asyncio.gather(*waiting)
        return entered

    assert asyncio.run(story()) == ["large", "small"]


def test_who_holds_nothing_keeps_nobody_out() -> None:
    async def story() -> None:
        room = Room(100)
        for _ in range(50):
            room.enter(25)  # of these nothing comes
        assert await room.hold(room.enter(25), 25, 0)

    asyncio.run(story())


def test_what_is_larger_than_the_room_has_it_alone() -> None:
    async def story() -> None:
        room = Room(100)
        large, small = room.enter(1000), room.enter(1)
        assert await room.hold(large, 1000, 0)
        assert not await room.hold(small, 1, 0.01)
        room.leave(large)
        assert await room.hold(small, 1, 0)

    asyncio.run(story())


def test_who_gives_up_or_is_cancelled_takes_no_room() -> None:
    async def story() -> None:
        room = Room(100)
        first, second, third = (room.enter(100) for _ in range(3))
        assert await room.hold(first, 100, 0)
        assert not await room.hold(second, 50, 0.01)
        left = asyncio.create_task(room.hold(second, 50, 5))
        lucky = asyncio.create_task(room.hold(third, 100, 5))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        room.leave(second)
        room.leave(first)
        lucky.cancel()  # its turn came, but it does not know yet
        await asyncio.gather(lucky, return_exceptions=True)
        assert left.cancelled()
        assert lucky.cancelled()
        room.leave(third)
        assert not room.wanted
        assert await room.hold(room.enter(100), 100, 0)

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(20))
def test_requests_that_come_in_pieces_all_find_room_in_the_end_and_never_hold_more_than_there_is(seed: int) -> None:
    fate = Random(seed)
    held: dict[int, int] = {}

    async def request(room: Room, number: int) -> None:
        size = fate.choice((5, 30, 60, 100, 150))
        place = room.enter(max(size, fate.choice((0, 100))))  # a body in chunks may have more than it has
        try:
            while held.get(number, 0) < size:
                await asyncio.sleep(0)
                more = min(size, held.get(number, 0) + fate.randint(1, 40))
                assert await room.hold(place, more, 5)
                held[number] = more
                assert sum(min(one, 100) for one in held.values()) <= 100
        finally:
            held.pop(number, None)
            room.leave(place)

    async def story() -> None:
        room = Room(100)
        await asyncio.gather(*(request(room, number) for number in range(40)))

    asyncio.run(story())
