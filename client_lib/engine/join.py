"""Coming into a chat by a Welcome, and the key packages that make it possible."""

from __future__ import annotations

from client_lib.engine import outbox, trust
from client_lib.engine.draft import Draft
from client_lib.engine.identity import Identity
from client_lib.engine.state import Chat, OwnKeyPackage
from client_lib.errors import TrustError
from client_lib.events import Alert, ChatJoined
from crypto.errors import CryptoError
from crypto.mls.group import join
from crypto.mls.key_package import generate_key_package
from crypto.mls.tree_nodes import Lifetime
from crypto.suites import CipherSuite
from protocol.frames import Ack, InboxAck, InboxItem

KEY_PACKAGE_LIFETIME_S = 90 * 24 * 3600
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
    if held is not None and held.group is not None and group.epoch <= held.group.epoch:
        raise TrustError("the Welcome leads back to a time before the chat stopped here")
    chat = draft.keep(Chat(item.chat_id, item.chat_kind, item.position, group))
    draft.frames.append(Ack(item.chat_id, item.position))
    draft.events.append(ChatJoined(item.chat_id, trust.account_of(staged.inviter)))
    if draft.key_packages[staged.used_reference].is_last_resort:
        # Others may have been given the same package: leave its keys behind at once.
        outbox.change(draft, chat, outbox.generate_message_id())
    else:
        draft.forget_key_package(staged.used_reference)


def generate_key_packages(draft: Draft, identity: Identity, suite: CipherSuite, one_time: int) -> None:
    """Make one-time key packages, and a last-resort one if there is none, and keep their private parts.

    They are uploaded afterwards: a key is on disk before anybody can use it.
    """
    has_last_resort = any(own.is_last_resort for own in draft.key_packages.values())
    for is_last_resort in [False] * one_time + [True] * (not has_last_resort):
        bundle = generate_key_package(
            suite, identity.credential, identity.device_key, lifetime=lifetime(draft.now), last_resort=is_last_resort
        )
        draft.keep_key_package(OwnKeyPackage(bundle, is_last_resort, is_published=False))


def lifetime(now: int) -> Lifetime:
    """When a key package of ours may be used."""
    return Lifetime(now - BACKDATE_S, now + KEY_PACKAGE_LIFETIME_S)
