"""`Secret` hides its bytes from everything but `.reveal()`."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest

from crypto.secret import Secret

HIDDEN = b"correct horse battery staple"


def test_the_bytes_come_out_by_reveal_alone(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(HIDDEN)
    assert secret.reveal() == HIDDEN
    assert len(secret) == len(HIDDEN)
    logging.getLogger("sealdesk").warning("a key: %s %r", secret, secret)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", "%s" % secret, caplog.text]  # noqa: UP031  # the old form is one more way out
    for text in [*shown, repr([secret]), repr({"key": secret})]:
        assert "redacted" in text
        assert "horse" not in text
        assert HIDDEN.hex() not in text


def test_equality_is_by_value_and_among_secrets_only() -> None:
    assert Secret(HIDDEN) == Secret(HIDDEN)
    assert Secret(HIDDEN) != Secret(HIDDEN[:-1])
    assert Secret(HIDDEN) != Secret(HIDDEN[:-1] + b"x")
    assert Secret(HIDDEN) != HIDDEN
    assert Secret(HIDDEN).__eq__(HIDDEN) is NotImplemented


def test_a_secret_cannot_be_hashed_pickled_copied_or_given_attributes() -> None:
    secret = Secret(HIDDEN)
    with pytest.raises(TypeError, match="unhashable"):
        hash(secret)
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            copier(secret)
    with pytest.raises(AttributeError):
        secret.label = "x"  # type: ignore[attr-defined]  # that it is refused is the point
    with pytest.raises(TypeError):
        bytes(secret)  # type: ignore[call-overload]  # likewise
