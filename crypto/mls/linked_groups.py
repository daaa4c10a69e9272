"""Groups that follow from another (RFC 9420 §11.2, §11.3): the same members anew, or some of them apart.

Owns how such a group is made and how a joiner checks the link. It is an ordinary group of one whose first commit adds
everybody else and mixes in a resumption PSK of the old group, which only its members know. That commit is the one place
for such a PSK: nobody receives it, and rule P5 refuses one that arrives.
"""

from __future__ import annotations

from collections.abc import Sequence

from crypto.errors import RuleViolation
from crypto.mls.commit import CreatedCommit, create_commit
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import AnyCredential
from crypto.mls.headers import WireFormat
from crypto.mls.key_schedule import GroupContext
from crypto.mls.proposal_list import checked_add, choose_proposals
from crypto.mls.proposals import CheckedProposal, PreSharedKey
from crypto.mls.psk import ResumptionPSK, ResumptionPSKUsage
from crypto.mls.psk_lookup import generate_psk_id, no_psks, own_psks_first
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import welcome as rules
from crypto.mls.state import GroupState
from crypto.mls.verified_key_package import VerifiedKeyPackage


def generate_first_commit(
    old: GroupState, new: GroupState, usage: ResumptionPSKUsage, adds: Sequence[VerifiedKeyPackage], now: int
) -> CreatedCommit:
    """The commit that makes `new`, a group of us alone, the continuation or a branch of `old`.

    Raises `RuleViolation` W11 if it would be none, or what a commit of these `adds` may raise.
    """
    psk = ResumptionPSK(usage, old.context.group_id, old.context.epoch)
    own = [CheckedProposal(PreSharedKey(generate_psk_id(new.suite, psk)), new.own_leaf, None)]
    own += [checked_add(new, verified, now) for verified in adds]
    created = create_commit(
        new,
        choose_proposals(new, own, no_psks, now),
        with_path=True,
        wire_format=WireFormat.PRIVATE_MESSAGE,
        authenticated_data=b"",
        find_psk=own_psks_first(old, no_psks),
    )
    check_link(psk, created.next_state.context, created.next_state.tree, old, new.config)
    return created


def check_link(
    psk: ResumptionPSK, context: GroupContext, tree: RatchetTree, old: GroupState | None, config: GroupConfig
) -> None:
    """Judge a group by the one that `psk` says it follows from (§12.4.3.1), which the caller of `join` has named.

    Raises `RuleViolation` W11.
    """
    if old is None:
        raise RuleViolation("W11", "a group that follows from one that was not expected to have a successor")
    rules.w11_first_epoch(context)
    before, after = _credentials(old.tree), _credentials(tree)
    if psk.usage is ResumptionPSKUsage.REINIT:
        rules.w11_as_promised(psk, context, old.context, old.reinit)
        rules.w11_each_is_among(before, after, config.same_client)
    else:
        rules.w11_same_parameters(psk, context, old.context)
        rules.w11_each_is_among(after, before, config.same_client)


def _credentials(tree: RatchetTree) -> list[AnyCredential]:
    return [leaf.credential for _, leaf in tree.occupied()]
