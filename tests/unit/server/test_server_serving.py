"""Where a server listens."""

import socket

import pytest

from diarist.errors import DiaristError
from diarist.server.serving import listen


def close(listening):
    for one in listening:
        one.close()


def test_all_addresses_of_a_host_on_one_port():
    listening = listen("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in listening}) == 1
        found = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        assert {one.getsockname()[0] for one in listening} <= found
        for one in listening:
            with socket.create_connection(one.getsockname()[:2], timeout=5):
                pass
    finally:
        close(listening)


@pytest.mark.parametrize(
    ("host", "port"), [("host.invalid", 0), ("127.0.0.1", 70_000), ("192.0.2.1", 0), ("a" * 80, 0)]
)
def test_where_it_cannot_listen_it_says_so(host, port):
    with pytest.raises(DiaristError, match=f"cannot listen on {host} port {port}: "):
        listen(host, port)


def test_an_address_that_this_machine_has_not_does_no_harm(monkeypatch):
    found = [(socket.AF_INET, 0, 0, "", (address, 0)) for address in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    listening = listen("both.example", 0)
    assert [one.getsockname()[0] for one in listening] == ["127.0.0.1"]
    close(listening)


def test_a_port_that_is_taken_leaves_nothing_open():
    listening = listen("127.0.0.1", 0)
    try:
        with pytest.raises(DiaristError, match="in use"):
            listen("127.0.0.1", listening[0].getsockname()[1])
    finally:
        close(listening)
