"""The rules that are no function of this folder: where each of them holds, and how. Data for `docs/mls-rules.md`.

A rule that is one function stands beside its kind and speaks for itself. Here are those that hold because of how
something is built, those that are a step of an algorithm, those that the application judges, and those that nobody
checks, with the reason.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class How(Enum):
    """In what way a rule holds."""

    STEP = "a step of the algorithm, which refuses"
    BUILT_IN = "by construction: nothing else can be said, or kept"
    APPLICATION = "judged by the application"
    NOT_YET = "not checked"


class Elsewhere(NamedTuple):
    """One rule: its id, what must hold, the section of RFC 9420 ("own" without one), how it holds and where.

    `where` names functions or classes by their full names. `why` says what is not plain from that. A rule that is a
    function, too, may have a row for what the function's docstring cannot say; `holds` is then empty or goes before it.
    """

    id: str
    holds: str
    section: str
    how: How
    where: tuple[str, ...]
    why: str = ""


ELSEWHERE = (
    # P and Q: proposals, and the list of a member's commit
    Elsewhere(
        "P1",
        "An Add holds a key package that passes section K.",
        "§12.1.1",
        How.STEP,
        ("crypto.mls.proposal_list.check_proposal", "crypto.mls.proposal_list.checked_add"),
        "Received, by value or by reference; and when we add, for a key package that was verified when it was fetched",
    ),
    Elsewhere(
        "P2",
        "An Update is of a member, and its leaf, which passes section L, replaces that member's own.",
        "§12.1.2",
        How.STEP,
        ("crypto.mls.proposal_list.check_proposal",),
        "The leaf's signature covers its place; F13 and F15 keep out whoever is no member",
    ),
    Elsewhere(
        "P6",
        "A ReInit does not go back to a lower version.",
        "§12.1.5",
        How.BUILT_IN,
        ("crypto.mls.tree_nodes.ProtocolVersion",),
        "There is one version, and no other decodes",
    ),
    Elsewhere(
        "P9",
        "A proposal type that is not one of the default ones is supported by all who process the commit.",
        "§12.2, §13.2",
        How.BUILT_IN,
        ("crypto.mls.proposals.ProposalType",),
        "We know the default types only: no other decodes, and our capabilities claim none",
    ),
    Elsewhere(
        "P10",
        "A proposal is kept once its signature holds, for its epoch; a new epoch begins without any.",
        "§12.1",
        How.BUILT_IN,
        ("crypto.mls.messages.open_message", "crypto.mls.state.state_in_epoch"),
    ),
    Elsewhere(
        "P11",
        "The sender of a proposal may make this change under our roles.",
        "§12.2, §16.10",
        How.NOT_YET,
        ("client_lib.engine.trust.judge_proposal",),
        "There are no roles yet, so any member may change the group; who is brought in is judged",
    ),
    Elsewhere(
        "Q1",
        "Every entry of a commit is valid by itself.",
        "§12.2",
        How.STEP,
        ("crypto.mls.proposal_list.resolve",),
        "By value it is judged here, by reference it was judged before it was kept",
    ),
    Elsewhere(
        "Q11",
        "A list is applied in a fixed order: extensions first, and leaves are judged under the new ones.",
        "§12.3",
        How.STEP,
        ("crypto.mls.proposal_list.apply_proposals",),
        "By rules L3 and P8",
    ),
    Elsewhere(
        "Q12",
        "The tree after a list of proposals is valid as a whole.",
        "§12.2",
        How.STEP,
        ("crypto.mls.proposal_list.apply_proposals", "crypto.mls.proposal_list.check_members"),
        "By rules L3, L4, L12 and L13, for each leaf that the list brings",
    ),
    Elsewhere(
        "Q13",
        "An Update by reference counts for whoever sent it, not for the committer.",
        "§12.1.2",
        How.BUILT_IN,
        ("crypto.mls.proposals.CheckedProposal",),
        "What is kept under a reference holds its sender; a commit has no place to name one",
    ),
    # U: a commit's path, and the way into the next epoch
    Elsewhere(
        "U2",
        "One node of the path for each node of the filtered direct path.",
        "§7.6",
        How.STEP,
        ("crypto.mls.treekem.place_path", "crypto.mls.treekem.decrypt_path"),
    ),
    Elsewhere(
        "U3",
        "One ciphertext for each node of a resolution, without those of members whom this commit adds.",
        "§7.6",
        How.STEP,
        ("crypto.mls.treekem.decrypt_path",),
        "Everybody looks at every node of the path, also at those that are not above them",
    ),
    Elsewhere(
        "U4",
        "The path secret that is for us decrypts under the provisional GroupContext.",
        "§12.4.2",
        How.STEP,
        ("crypto.mls.treekem.decrypt_path",),
        "`AuthenticationError`",
    ),
    Elsewhere(
        "U5",
        "Every public key of the path, from ours up to the root, follows from the path secret.",
        "§7.5",
        How.STEP,
        ("crypto.mls.treekem.decrypt_path",),
    ),
    Elsewhere(
        "U6",
        "The parent hash in the path's leaf is that of the path.",
        "§7.9.2",
        How.STEP,
        ("crypto.mls.treekem.place_path",),
    ),
    Elsewhere(
        "U7",
        "The path's leaf passes section L as one from a commit.",
        "§12.4.2",
        How.STEP,
        ("crypto.mls.commit.process_commit", "crypto.mls.external.process_external_commit"),
    ),
    Elsewhere(
        "U9",
        "No key of the path is in the tree already, nor twice in the path.",
        "§12.4.2, §16.7",
        How.STEP,
        ("crypto.mls.treekem.place_path",),
    ),
    Elsewhere(
        "U10",
        "Every pre-shared key of a commit is known.",
        "§12.4.2",
        How.STEP,
        ("crypto.mls.state.find_psks",),
        "Of commits that we receive, that we make, and by which we join",
    ),
    Elsewhere(
        "U11",
        "The confirmation tag is the right one, in full length.",
        "§12.4.2",
        How.STEP,
        ("crypto.mls.key_schedule.verify_confirmation_tag",),
        "`AuthenticationError`; compared in constant time",
    ),
    Elsewhere(
        "U12",
        "Nothing is kept until every check has passed; then all of it is, in one transaction.",
        "§12.4.2, §14",
        How.BUILT_IN,
        ("crypto.mls.state.GroupState", "client_lib.engine.draft.Draft"),
        "A state never changes: a commit gives the next one or raises; the client stores what an event led to at once",
    ),
    Elsewhere(
        "U14",
        "A commit that removes us leads to no next epoch.",
        "§12.4.2",
        How.STEP,
        ("crypto.mls.group_view.StagedCommit.merge", "client_lib.engine.receive.log_entry"),
        "The client then stops sending, forgets the group's keys and keeps the history",
    ),
    Elsewhere(
        "U16",
        "Our own commit counts only once the delivery service has accepted it; if another wins, it is dropped.",
        "§14",
        How.BUILT_IN,
        ("crypto.mls.group_view.PendingCommit", "client_lib.engine.receive.log_entry"),
        "The group stays as it is until the caller adopts `next_group`, which the client does when the log shows it",
    ),
    Elsewhere(
        "U17",
        "The committer's role allows each entry of its list.",
        "§12.2",
        How.NOT_YET,
        ("client_lib.engine.trust.judge_commit",),
        "There are no roles yet, so any member may change the group; who is brought in is judged",
    ),
    # X: external commits
    Elsewhere(
        "X6",
        "An external commit is signed by the key in its path, as that of a new member.",
        "§12.4.3.2",
        How.STEP,
        ("crypto.mls.messages.open_message",),
        "`AuthenticationError`; a member's commit with an ExternalInit is refused by rule P7",
    ),
    Elsewhere(
        "X7",
        "",
        "§12.4.3.2",
        How.STEP,
        ("crypto.mls.group_info.verify_group_info", "crypto.mls.messages.open_message"),
        "A member has signed it (W4). By an old one a client joins an epoch that is over (F2), by a key that is not "
        "the group's one that nobody else enters (U11)",
    ),
    Elsewhere(
        "X9",
        "A joiner takes the leftmost leaf that is blank once its former one is removed.",
        "§12.4.2",
        How.BUILT_IN,
        ("crypto.mls.external.process_external_commit",),
        "Its leaf is verified for that place and for no other",
    ),
    Elsewhere(
        "X10",
        "Who joins by itself may, and proves it.",
        "§16.6",
        How.APPLICATION,
        ("crypto.mls.group_view.StagedCommit", "crypto.mls.config.GroupConfig"),
        "Refused unless `accept_external_commits` is set (F20), which our client leaves off; who sets it judges "
        "`sender`, `removed` and `psks` before it merges",
    ),
    # W: Welcome and GroupInfo
    Elsewhere(
        "W2",
        "The group secrets decrypt, with the encrypted GroupInfo as their context.",
        "§12.4.3.1",
        How.STEP,
        ("crypto.mls.joining.open_welcome",),
        "`AuthenticationError`",
    ),
    Elsewhere(
        "W3",
        "",
        "§12.4.3.1",
        How.STEP,
        ("crypto.mls.state.find_psks",),
        "Every PSK that a Welcome names is known",
    ),
    Elsewhere(
        "W4",
        "",
        "§12.4.3.1",
        How.STEP,
        ("crypto.mls.group_info.verify_group_info",),
        "A signature that is not the signer's is an `AuthenticationError`",
    ),
    Elsewhere(
        "W7",
        "A tree comes with a GroupInfo, and passes section T.",
        "§12.4.3.1",
        How.STEP,
        ("crypto.mls.group_info.verify_group_info",),
    ),
    Elsewhere(
        "W10",
        "The confirmation tag is the right one, in full length.",
        "§12.4.3.1",
        How.STEP,
        ("crypto.mls.key_schedule.verify_confirmation_tag",),
        "`AuthenticationError`; compared in constant time",
    ),
    Elsewhere(
        "W13",
        "Extensions of a GroupInfo or of a key package that we do not know are ignored.",
        "§13.4",
        How.BUILT_IN,
        ("crypto.mls.extensions.find_extension",),
        "Nothing looks for them",
    ),
    Elsewhere(
        "W14",
        "Who invites us may, and all whom we would meet are who they say.",
        "§5.3.1",
        How.APPLICATION,
        ("client_lib.engine.join.welcome", "client_lib.engine.trust.judge_members"),
        "Every member, the inviter among them, is a listed device of its account, and the chat's kind allows them all; "
        "there are no roles yet, and nobody can be blocked",
    ),
    Elsewhere(
        "W15",
        "A Welcome is delivered only after its commit has won.",
        "§14",
        How.APPLICATION,
        ("crypto.mls.group_view.PendingCommit", "backend.store.log.append"),
        "The server stores both in one transaction, and drops both if the epoch is over",
    ),
)
"""In the order of the sections; `docs/mls-rules.md` sorts."""
