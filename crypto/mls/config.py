"""What RFC 9420 leaves to the application: who may speak to a group, what is kept of the past, how long leaves live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import eq

from crypto.mls.credentials import AnyCredential

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """How this client behaves in a group. It is neither stored with a group nor agreed: members may differ in it."""

    send_public_handshakes: bool = False
    """Send proposals and commits as PublicMessage, for a delivery service that must read them."""
    accept_public_handshakes: bool = False
    """Accept proposals and commits that come as PublicMessage (§6 recommends PrivateMessage)."""
    accept_external_commits: bool = False
    """Accept clients that join by themselves (§12.4.3.2). Who may is for the caller to judge, before it adopts."""
    accept_external_proposals: bool = False
    """Accept proposals from the group's external senders, and from clients that want to be added (§12.1.8)."""
    former_epochs_max: int = 0
    """Of how many former epochs application messages can still be opened (§15.3). Each one kept delays forward
    secrecy: `Group.forget_former_epochs` ends it when time, not a commit, has passed."""
    same_client: Callable[[AnyCredential, AnyCredential], bool] = eq
    """Whether two credentials are of one client, the former first: for who rejoins (§12.2), and who is still there
    after a group was reinitialised or branched (§11.2, §11.3). By default only equal ones are."""
    lifetime_max_s: int = 366 * DAY_S
    """The longest total lifetime of a leaf (§7.2: "Applications MUST define a maximum")."""
    clock_behind_max_s: int = HOUR_S
    """How far our clock may be behind when we add someone: its leaf may begin so much later. It has not ended."""
    receive_tolerance_s: int = 90 * DAY_S
    """How late we may read an Add, so that a member that was away comes to the same verdict as those who were not.

    Whoever commits an Add that ended nearly so long ago divides those who read before and after; an honest member adds
    nobody whose lifetime has ended (rule L9).
    """
    join_tolerance_s: int = 366 * DAY_S
    """How long a leaf in the tree of a group that we join may have been expired: a silent member blocks nobody."""


DEFAULT_CONFIG = GroupConfig()
