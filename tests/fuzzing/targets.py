"""Every target of the fuzzer, by name."""

from __future__ import annotations

from tests.fuzzing import decoders, members, outside, welcomes

TARGETS = {
    target.name: target
    for target in (
        decoders.MESSAGE,
        decoders.KEY_PACKAGE,
        decoders.RATCHET_TREE,
        decoders.GROUP_INFO,
        decoders.SNAPSHOT,
        welcomes.WELCOME,
        members.PRIVATE_MESSAGE,
        members.PUBLIC_MESSAGE,
        members.COMMIT,
        outside.IDENTITY,
        outside.SERVER,
        outside.ATTACHMENT,
    )
}
