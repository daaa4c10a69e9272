"""Waiting between tries, and which URLs may be used at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_lib.errors import TransportError
from client_lib.transport import Backoff, ServerAddress


def test_each_wait_is_twice_as_long_up_to_the_longest() -> None:
    backoff = Backoff(first_s=1, longest_s=60)
    assert [backoff.delay_s(failures, 1.0) for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_half_of_a_wait_is_random() -> None:
    backoff = Backoff(first_s=4, longest_s=60)
    assert [backoff.delay_s(1, jitter) for jitter in (0, 0.5, 1)] == [2, 3, 4]


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_no_wait_is_shorter_than_half_the_first_or_longer_than_the_longest(failures: int, jitter: float) -> None:
    assert 0.5 <= Backoff().delay_s(failures, jitter) <= 60


@pytest.mark.parametrize(
    "typed, url, stream_url",
    [
        ("https://chat.example.org", "https://chat.example.org", "wss://chat.example.org/v1/stream"),
        ("https://Chat.Example.org:8443/", "https://chat.example.org:8443", "wss://chat.example.org:8443/v1/stream"),
        (" https://a.example/desk/ ", "https://a.example/desk", "wss://a.example/desk/v1/stream"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "ws://127.0.0.1:8000/v1/stream"),
        ("http://localhost", "http://localhost", "ws://localhost/v1/stream"),
        ("http://[::1]:80", "http://[::1]:80", "ws://[::1]:80/v1/stream"),
    ],
)
def test_a_url_is_normalised(typed: str, url: str, stream_url: str) -> None:
    address = ServerAddress.parse(typed)
    assert (address.url, address.stream_url) == (url, stream_url)
    assert (address.tls() is None) == url.startswith("http:")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "chat.example.org",
        "ftp://chat.example.org",
        "https://",
        "https://user:secret@chat.example.org",
        "https://chat.example.org?a=1",
        "https://chat.example.org:99999",
        "https://[::1",
    ],
)
def test_what_is_no_server_url_is_refused(typed: str) -> None:
    with pytest.raises(TransportError, match="https://HOST") as refused:
        ServerAddress.parse(typed)
    assert not refused.value.retryable


@pytest.mark.parametrize(
    "typed", ["http://chat.example.org", "http://192.168.1.10:8000", "http://localhost.example.org"]
)
def test_a25_a_token_does_not_cross_a_network_in_the_clear(typed: str) -> None:
    with pytest.raises(TransportError, match="use https://"):
        ServerAddress.parse(typed)
