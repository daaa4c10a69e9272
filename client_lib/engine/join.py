"""Coming into a chat by a Welcome, and the key packages that make it possible."""

from __future__ import annotations

from dataclasses import replace

from client_lib.engine import outbox, trust
from client_lib.engine.draft import Draft
from client_lib.engine.identity import Identity
from client_lib.engine.state import Chat, OwnKeyPackage
from client_lib.errors import TrustError
from client_lib.events import Alert, ChatJoined
from crypto.errors import CryptoError
from crypto.mls.group import generate_key_package, join
from crypto.mls.tree_nodes import Lifetime
from crypto.suites import CipherSuite
from protocol.frames import Ack, InboxAck, InboxItem
from protocol.limits import KEY_PACKAGES_PER_DEVICE_MAX

DAY_S = 24 * 3600
KEY_PACKAGE_LIFETIME_S = 90 * DAY_S
RENEW_BEFORE_S = 30 * DAY_S
"""A last-resort key package is replaced this long before it expires."""
FORGET_AFTER_S = 30 * DAY_S
"""A Welcome may come late: the private part of an expired key package is kept this much longer."""
BACKDATE_S = 3600
"""Key packages start an hour ago, so that a peer whose clock is behind takes them."""


def welcome(draft: Draft, identity: Identity, item: InboxItem) -> None:
    """Join the chat that a Welcome leads to, or say why not. Raises `trust.NeedAccounts`."""
    held = draft.chat(item.chat_id)
    if held is not None and held.status == "active":
        # Rule W5: a Welcome never overwrites a group that we hold. Also how a repeat after a lost connection looks.
        draft.frames.append(InboxAck(item.item_id))
        return
    try:
        _join(draft, identity, item)
    except (CryptoError, TrustError) as error:
        draft.events.append(Alert(item.chat_id, f"an invitation to a chat was refused: {error}"))
    draft.frames.append(InboxAck(item.item_id))


def _join(draft: Draft, identity: Identity, item: InboxItem) -> None:
    bundles = {reference: own.bundle for reference, own in draft.key_packages.items()}
    staged = join(item.message, bundles, identity.device_key, now=draft.now)
    if staged.group_id != item.chat_id:
        raise TrustError("the Welcome leads to another chat than the server says")
    trust.judge_members(draft, staged.members)
    trust.check_kind(item.chat_kind, staged.members)
    group, held = staged.accept(), draft.chat(item.chat_id)
    if held is not None and group.epoch <= _last_epoch(held):
        raise TrustError("the Welcome leads back to a time that we have seen")
    waiting = outbox.unseal(held).outbox if held is not None else {}
    chat = draft.keep(Chat(item.chat_id, item.chat_kind, item.position, group, outbox=waiting))
    draft.frames.append(Ack(item.chat_id, item.position))
    draft.events.append(ChatJoined(item.chat_id, trust.account_of(staged.inviter)))
    used = draft.key_packages[staged.used_reference]
    if used.is_last_resort:
        # Others may have been given the same package: leave its keys behind at once, and have another one made (K10).
        draft.keep_key_package(replace(used, is_used=True))
        generate_key_packages(draft, identity, group.suite, 0)
        outbox.change(draft, identity, chat, outbox.generate_message_id())
    else:
        draft.forget_key_package(staged.used_reference)
        outbox.pump(draft, identity, chat)


def _last_epoch(held: Chat) -> int:
    return held.group.epoch if held.group is not None else held.former_epoch


def generate_key_packages(draft: Draft, identity: Identity, suite: CipherSuite, one_time: int) -> None:
    """Make one-time key packages, and a last-resort one if none is fresh, and keep their private parts.

    They are uploaded afterwards: a key is on disk before anybody can use it. Long expired ones are forgotten.
    """
    one_time = min(one_time, KEY_PACKAGES_PER_DEVICE_MAX - len(draft.key_packages))  # a server cannot fill our store
    for reference, own in draft.key_packages.items():
        if own.not_after + FORGET_AFTER_S < draft.now:
            draft.forget_key_package(reference)
    has_last_resort = any(
        own.is_last_resort and not own.is_used and own.not_after > draft.now + RENEW_BEFORE_S
        for own in draft.key_packages.values()
    )
    for is_last_resort in [False] * one_time + [True] * (not has_last_resort):
        bundle = generate_key_package(
            suite, identity.credential, identity.device_key, lifetime=lifetime(draft.now), last_resort=is_last_resort
        )
        draft.keep_key_package(OwnKeyPackage(bundle, is_last_resort, is_published=False))


def lifetime(now: int) -> Lifetime:
    """When a key package of ours may be used."""
    return Lifetime(now - BACKDATE_S, now + KEY_PACKAGE_LIFETIME_S)
