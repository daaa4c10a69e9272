"""Invitation links carry the public URL exactly, and nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealdesk_cli.errors import CommandError, Exit
from sealdesk_cli.links import Invitation, format_link, parse_link

CODE = bytes(range(16))
LINK = "https://chat.example.org/#aaaqeayeaudaocajbifqydiob4"

URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,30}", fullmatch=True),
    st.one_of(st.just(""), st.integers(1, 65_535).map(":{}".format)),
    st.from_regex(r"(/[a-z0-9~_.-]{1,10}){0,3}", fullmatch=True),
)


@given(URLS, st.binary(min_size=16, max_size=16))
def test_a_link_says_what_went_into_it(url: str, code: bytes) -> None:
    invitation = Invitation(url, code)
    assert parse_link(format_link(invitation)) == invitation


def test_a_link_looks_like_this() -> None:
    assert format_link(Invitation("https://chat.example.org", CODE)) == LINK
    assert parse_link(f"  {LINK}\n") == Invitation("https://chat.example.org", CODE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aaaqeayeaudaocajbifqydiob4",
        "https://chat.example.org/",
        "https://chat.example.org/#",
        "https://chat.example.org#aaaqeayeaudaocajbifqydiob4",
        "https://chat.example.org//#aaaqeayeaudaocajbifqydiob4",
        "ftp://chat.example.org/#aaaqeayeaudaocajbifqydiob4",
        "chat.example.org/#aaaqeayeaudaocajbifqydiob4",
        LINK.upper(),
        LINK[:-1],
        LINK + "a",
        LINK[:-1] + "5",  # two bits beyond the 128: another spelling of the same code
        LINK.replace("/#", "/#/#"),
        LINK + "#",
        LINK.replace("chat", "ch at"),
        LINK.replace("chat", "ch\x1b[31mat"),
        LINK.replace("chat", "chät"),
        LINK + " " + LINK,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CommandError) as refusal:
        parse_link(text)
    assert refusal.value.code == Exit.USAGE
    assert "\n" not in str(refusal.value)
