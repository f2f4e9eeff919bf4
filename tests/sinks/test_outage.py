"""A slow or absent ClickHouse makes lag, never loss, growth or a crash."""

import socket
import threading
from urllib.parse import urlsplit

import pytest
from spanloom_sinks.lane import BLOCK_BYTES, BUFFER_BYTES, Lane
from spanloom_sinks.source import Source


class Door:
    """A way to a server that can be shut: connections are then cut and refused."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open: set[socket.socket] = set()
        self.shut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.shut = True
        for connection in list(self._open):
            connection.close() if connection.fileno() < 0 else connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self.shut:
                near.close()
                continue
            far = socket.create_connection(self._to)
            self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()
            if self.shut:  # meanwhile
                self.close()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            self._open.discard(one)
            for connection in (one, other):
                connection.close()


@pytest.fixture
def door(clickhouse):
    url = urlsplit(clickhouse)
    return Door(url.hostname, url.port)


def test_what_arrives_while_the_engine_is_away_is_stored_when_it_is_back(
    door, start_sink, store, produce, traffic, eventually
):
    producer = traffic.id(4)

    def stored():
        return store.query("SELECT count() FROM spans WHERE producer = {p:String}", p=producer).item()

    def send(sequence):
        span = traffic.span()
        produce("llm.spans", [traffic.encoded([span], producer=producer, sequence=sequence)], span["trace_id"])

    sink = start_sink(SPANLOOM_CLICKHOUSE_URL=f"http://127.0.0.1:{door.port}")
    send(1)
    eventually(lambda: stored() == 1, sink.log.read_text)
    door.close()
    for sequence in range(2, 8):
        send(sequence)
    eventually(lambda: "cannot write" in sink.log.read_text(), sink.log.read_text)
    assert stored() == 1
    door.shut = False
    eventually(lambda: stored() == 7, sink.log.read_text)
    assert sink.stop() == 0
    said = [line.partition("sink: ")[2] for line in sink.log.read_text().splitlines() if "sink: " in line]
    assert [line.split(":")[0] for line in said] == ["cannot write, trying again until it works", "writing again"]


def test_a_lane_asks_to_be_held_back_before_it_holds_much():
    lane = Lane(Source("llm.spans", "id", 0, 0), 0)
    size, offset = 1 << 20, 0
    while not lane.full:
        lane.add([(offset, 0, bytes(size))], now=0.0)
        offset += 1
    assert lane.bytes <= BUFFER_BYTES + size
    block = lane.cut(now=0.0, linger=10.0)
    assert sum(len(value) for _, _, value in block.messages) <= BLOCK_BYTES
    assert lane.cut(now=99.0, linger=0.0) is None  # one block at a time
