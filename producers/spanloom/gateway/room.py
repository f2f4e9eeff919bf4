"""Room for what is being read: bytes, of which who finds too few waits for others to leave."""

import asyncio
from collections import deque


class Room:
    """`size` bytes in all, given out in the order in which they are asked for; for one event loop."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int, seconds: float) -> bool:
        """Take `size` bytes (all there are, if it is more), which `leave` gives back; False: not within `seconds`."""
        size = min(size, self._size)
        if not self._queue and size <= self._free:
            self._free -= size
            return True
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((size, turn))
        try:
            await asyncio.wait([turn], timeout=seconds)
        except asyncio.CancelledError:
            if not turn.cancel():
                self.leave(size)
            raise
        return not turn.cancel()

    def leave(self, size: int) -> None:
        """Give back what `enter` took."""
        self._free += min(size, self._size)
        while self._queue and (self._queue[0][1].done() or self._queue[0][0] <= self._free):
            wanted, turn = self._queue.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
