"""What no binding can start, but the others follow: new GroupContext extensions, resumption PSKs, ReInit."""

from __future__ import annotations

from typing import Any

import pytest

from crypto.errors import RuleViolation
from crypto.mls.extensions import Extension, ExtensionType, ExternalSender, RequiredCapabilities
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.secret import Secret
from crypto.suites import suite_of
from crypto.wire import encode, encode_as
from tests.interop.mixed_world import MixedWorld, world_of
from tests.interop.our_peer import OurPeer
from tests.interop.peers import Sent, mix, needs, now

BASIC = 1


def commit(world: MixedWorld, us: OurPeer, **options: Any) -> None:
    pending = us.view.commit(now=now(), **options)
    us.group = us.view.adopt(pending.next_epoch)
    world.win(us, Sent(pending.message))


@pytest.mark.parametrize("founding", [mix("ours", other) for other in ("mls-rs", "rine", "OpenMLS")])
def test_extensions_of_the_group_context(founding: tuple[str, str]) -> None:
    """They go into each epoch, and to those who join later: by our Welcome and by theirs."""
    world, (us, them) = world_of(*founding)
    outside = OurPeer("outside")
    requirements = Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(RequiredCapabilities((), (), (BASIC,))))
    senders = Extension(
        ExtensionType.EXTERNAL_SENDERS,
        encode_as(tuple[ExternalSender, ...], (ExternalSender(outside.signer.public, outside.credential),)),
    )
    newcomers = world.clients([*founding, *founding])
    world.mint(newcomers)
    for extensions, (ours, theirs) in zip(
        ((requirements,), (requirements, senders)), (newcomers[:2], newcomers[2:]), strict=True
    ):
        commit(world, us, extensions=extensions)
        world.add(us, theirs)
        world.add(them, ours)
        assert ours.view.extensions == extensions
        us = ours
    commit(world, us, extensions=())


@pytest.mark.parametrize("founding", [mix("ours", "mls-rs"), mix("ours", "rine")])
def test_resumption_psks(founding: tuple[str, str]) -> None:
    """They keep those of former epochs, as we do. The binding of OpenMLS keeps none."""
    world, (us, _) = world_of(*founding)
    former = us.view
    psk = ResumptionPSK(ResumptionPSKUsage.APPLICATION, former.group_id, former.epoch)

    def find(asked: ExternalPSK | ResumptionPSK) -> Secret | None:
        return former.resumption_psk if asked == psk else None

    world.renew(us)
    world.renew(us)
    commit(world, us, psks=(psk,), find_psk=find)
    commit(world, us, psks=(psk,), find_psk=find, with_path=False)
    world.say(us, b"as before")


@needs("mls-rs")
def test_a_group_ends_by_reinit() -> None:
    """The last epoch is the same for all, and nothing is to be said in it (§12.4.2, rule U15).

    mls-rs makes no commit there but still sends data, which we refuse. Its binding cannot join what comes after.
    """
    world, (us, them) = world_of("ours", "mls-rs")
    us.group, message = us.view.propose_reinit(b"what comes after", suite_of(1), (), now=now())
    world.propose(us, message)
    commit(world, us, with_path=False)
    with pytest.raises(RuleViolation, match="U15"):
        us.send(b"one more thing")
    with pytest.raises(RuleViolation, match="U15"):
        us.process(them.send(b"one more thing"), them.identity)
    with pytest.raises(them.refusal, match="has been applied"):
        them.commit()
