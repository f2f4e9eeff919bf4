"""Room for what is being read: bytes, of which who finds too few waits for others to leave.

A request holds what has come of it, so that one of which nothing comes takes no room from the others. So that requests
which all have come half never wait for each other, the first in line always finds room: nobody else takes the bytes
that the largest one may still want.
"""

import asyncio
from collections import deque


class Place:
    """What one request holds."""

    def __init__(self, most: int) -> None:
        self.most = most
        """Bytes that it may come to hold."""
        self.held = 0


class Room:
    """`size` bytes in all, given out in the order in which they are asked for; for one event loop."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._line: dict[Place, None] = {}
        self._queue: deque[tuple[Place, int, asyncio.Future[None]]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._queue)

    def enter(self, most: int) -> Place:
        """Return the place of one who may come to hold `most` bytes (all there are, if it is more); `leave` ends it."""
        place = Place(min(most, self._size))
        self._line[place] = None
        return place

    async def hold(self, place: Place, size: int, seconds: float) -> bool:
        """Hold `size` bytes, more or fewer than before (at most what was said); False: not within `seconds`."""
        size = min(size, place.most)
        if size <= place.held:
            self._give(place, size)
            self._serve()
            return True
        if self._fits(place, size) and (not self._queue or self._is_first(place)):
            self._give(place, size)
            return True
        turn = asyncio.get_running_loop().create_future()
        entry = (place, size, turn)
        self._queue.append(entry)
        try:
            await asyncio.wait([turn], timeout=seconds)
        finally:
            if not turn.done():
                self._queue.remove(entry)
                self._serve()  # those behind may fit
        return turn.done()

    def leave(self, place: Place) -> None:
        """Give back what a place holds."""
        del self._line[place]
        self._give(place, 0)
        self._serve()

    def _give(self, place: Place, size: int) -> None:
        self._free -= size - place.held
        place.held = size

    def _serve(self) -> None:
        """Give those who wait what they wait for, in their order, and the first in line before them."""
        for entry in sorted(self._queue, key=lambda entry: not self._is_first(entry[0])):  # stable
            place, size, turn = entry
            if not self._fits(place, size):
                return
            self._queue.remove(entry)
            self._give(place, size)
            turn.set_result(None)

    def _fits(self, place: Place, size: int) -> bool:
        free = self._free - (size - place.held)
        if self._is_first(place):
            return free >= 0
        first = next(iter(self._line))
        return free >= max(one.most for one in self._line) - first.held

    def _is_first(self, place: Place) -> bool:
        return next(iter(self._line), None) is place
