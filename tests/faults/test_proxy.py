"""The proxy does to connections what its attributes say."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before a server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass
        connection.close()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    made = Proxy(server.getsockname()[1])
    yield made
    made.close()
    server.close()


def said(connection: socket.socket, text: bytes = b"hello") -> bytes:
    connection.sendall(text)
    return connection.recv(65536)


def cut(connection: socket.socket) -> type[OSError]:
    """Talk until the connection breaks; how it did."""
    try:
        while said(connection):
            pass
    except OSError as error:
        return type(error)
    return ConnectionError


def connected(proxy: Proxy, timeout: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout)


def test_it_carries_both_ways(proxy):
    with connected(proxy) as one, connected(proxy) as other:
        assert said(one) == said(other) == b"hello"


def test_latency_holds_back_each_way(proxy):
    proxy.latency_s = 0.2
    with connected(proxy) as connection:
        begun = time.monotonic()
        assert said(connection) == b"hello"
        assert time.monotonic() - begun >= 0.4


def test_what_is_lost_comes_in_order_when_it_was_sent_again(proxy):
    proxy.loss = 0.1
    with connected(proxy) as connection:
        begun = time.monotonic()
        assert [said(connection, b"%d" % number) for number in range(20)] == [b"%d" % number for number in range(20)]
        assert time.monotonic() - begun >= 0.2


def test_a_reset_ends_connections_and_new_ones_are_taken(proxy):
    with connected(proxy) as connection:
        assert said(connection) == b"hello"
        proxy.reset()
        assert cut(connection) is ConnectionResetError
    with connected(proxy) as connection:
        assert said(connection) == b"hello"


def test_one_that_refuses_cuts_all_connections_until_it_is_healed(proxy):
    with connected(proxy) as connection:
        assert said(connection) == b"hello"
        proxy.refuse()
        assert issubclass(cut(connection), ConnectionError)
    with connected(proxy) as connection:
        assert connection.recv(1) == b""
    proxy.heal()
    with connected(proxy) as connection:
        assert said(connection) == b"hello"


def test_a_silent_one_keeps_what_is_sent_until_it_is_healed(proxy):
    with connected(proxy, timeout=1) as connection:
        assert said(connection) == b"hello"
        proxy.silent = True
        with pytest.raises(TimeoutError):
            said(connection, b"later")
        proxy.heal()
        connection.settimeout(10)
        assert connection.recv(65536) == b"later"
