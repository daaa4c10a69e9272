"""What a Welcome's GroupSecrets may say: no more than a commit may (rules C8, P4, Q7)."""

from __future__ import annotations

from typing import Any

import pytest

from crypto.mls import joining
from crypto.mls.proposals import PreSharedKey
from crypto.mls.psk import ExternalPSK, PreSharedKeyID
from crypto.mls.rules import proposal_list as list_rules
from crypto.mls.rules import welcome as rules
from crypto.mls.welcome import GroupSecrets
from crypto.secret import Secret
from tests.crypto.forge import assert_refused, by_value, forged_commit, off, offered
from tests.crypto.matrix import every_group
from tests.crypto.world import NOW, World

PSK = Secret(b"known to all")


@every_group
@pytest.mark.parametrize("padding", [b"", b"\0"], ids=["a byte short", "a zero behind it"])
def test_c8_the_joiner_secret_is_as_long_as_the_hash(
    world: World, padding: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resized(joiner_secret: Secret, *rest: Any) -> GroupSecrets:
        changed = joiner_secret.reveal() + padding if padding else joiner_secret.reveal()[:-1]
        return GroupSecrets(Secret(changed), *rest)

    monkeypatch.setattr(joining, "GroupSecrets", resized)
    pending = world.pending("person 0", adds=["newcomer"])
    monkeypatch.undo()
    newcomer = world.person("newcomer")
    assert_refused("C8", lambda: newcomer.accept(pending.welcome))
    if padding:  # HMAC fills a key with zeros: the two are one
        with off(rules.c8_joiner_secret):
            newcomer.accept(pending.welcome)


@every_group
@pytest.mark.parametrize("rule, nonce_short, times", [("P4", True, 1), ("Q7", False, 2)])
def test_p4_q7_a_welcome_names_psks_as_a_commit_may(
    world: World, rule: str, nonce_short: bool, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every member refuses the commit; a joiner must not follow its committer to where nobody else is."""
    committer = world["person 0"]
    psk_id = PreSharedKeyID(ExternalPSK(b"psk"), b"short" if nonce_short else bytes(world.suite.hash_size))
    psks = [by_value(committer, PreSharedKey(psk_id))] * times
    find = lambda _: PSK  # noqa: E731  # given twice
    monkeypatch.setattr("tests.crypto.forge.no_psks", find)
    checks = (list_rules.p4_psk_nonce, list_rules.q7_psk_ids_unique)
    with off(*checks):
        pending = forged_commit(committer, [*psks, by_value(committer, offered(world, "newcomer"))])
    newcomer, receiver = world.person("newcomer"), world[world.receiver]
    assert_refused(rule, lambda: receiver.receive(pending.message, NOW, find), receiver)
    assert_refused(rule, lambda: newcomer.accept(pending.welcome, find))
    with off(*checks):
        newcomer.accept(pending.welcome, find)
