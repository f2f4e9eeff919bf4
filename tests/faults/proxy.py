"""A TCP proxy with faults: late, narrow, lossy, refusing, silent (packets vanish, connections stay), resetting, or
answering itself.
"""

import asyncio
import random
import socket
import struct
import threading

CHUNK = 64 * 1024
RETRANSMITTED_S = 0.2
"""How long TCP waits at least until it sends again what was lost; twice as long each further time."""


class Proxy:
    """Carries every connection to `port` on to `to`. Set an attribute at any time, from any thread."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.latency_s = 0.0
        self.bytes_a_second: float | None = None
        self.loss = 0.0
        """share of chunks that are lost: what a program sees of it is that they come when TCP has sent them again"""
        self.refusing = False
        self.silent = False
        self.answer: bytes | None = None
        """said to whoever asks, instead of what the other side would say; the connection ends then"""
        self._random = random.Random(1)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,), name="proxy", daemon=True)
        self._thread.start()

    def heal(self) -> None:
        self.latency_s, self.bytes_a_second, self.loss, self.answer = 0.0, None, 0.0, None
        self.refusing, self.silent = False, False

    def refuse(self) -> None:
        """Cut all connections and take no new one."""
        self.refusing = True
        self.reset()

    def reset(self) -> None:
        """Cut all connections by RST."""
        self._loop.call_soon_threadsafe(self._reset)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_task(asyncio.start_server(self._serve, sock=listener))
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop) - {serving}
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        serving.result().close()
        self._loop.close()

    def _reset(self) -> None:
        for writer in list(self._writers):
            taken = writer.get_extra_info("socket")
            if taken is not None and taken.fileno() >= 0:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _retransmission(self) -> float:
        """Seconds that the next chunk is late because it was lost, and lost again."""
        late, wait = 0.0, RETRANSMITTED_S
        while self._random.random() < self.loss:
            late, wait = late + wait, 2 * wait
        return late

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.refusing:
                return
            if self.answer is not None:
                await reader.read(CHUNK)
                writer.write(self.answer)
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
            self._writers.add(far_writer)
            try:
                await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                if self.bytes_a_second:
                    await asyncio.sleep(len(data) / self.bytes_a_second)
                await asyncio.sleep(self._retransmission())
                while self.silent:  # as with a cut cable, what was sent arrives once it is mended
                    await asyncio.sleep(0.1)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.close()
