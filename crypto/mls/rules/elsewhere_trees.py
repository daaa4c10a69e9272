"""Where the rules on leaves, key packages and trees hold that are no function of this folder.

Rows for `elsewhere`, sections L, K and T of the rule list.
"""

from __future__ import annotations

from crypto.mls.rules.how import Elsewhere, How

LEAVES = (
    Elsewhere(
        "L1",
        "A leaf's credential is valid for the identity that we expect.",
        "§5.3.1, §7.3",
        How.APPLICATION,
        ("client_lib.engine.trust.judge_members",),
        "Its chain of certificates holds, and its device is on the account's signed list.",
    ),
    Elsewhere(
        "L2",
        "A leaf has signed itself; in an Update or a Commit for its group and its place.",
        "§7.2, §7.3",
        How.STEP,
        ("crypto.mls.tree_nodes.verify_leaf_node",),
        "An `AuthenticationError`.",
    ),
    Elsewhere(
        "L6",
        "A leaf lists every extension that it or its key package carries, but the default ones.",
        "§7.2, §7.3, §10",
        How.STEP,
        (),
    ),
    Elsewhere(
        "L10",
        "The lifetime of a leaf contains now when we receive it in an Add, or in a tree that we enter.",
        "§7.3",
        How.STEP,
        ("crypto.mls.config.GroupConfig",),
        "Within a tolerance for each of the two.",
    ),
    Elsewhere(
        "L15",
        "",
        "§5.1.2, §5.3",
        How.APPLICATION,
        ("crypto.identity.device_list.certify_leaf",),
        "That the key is the credential's own is for the application, which takes its own certificates and no X.509.",
    ),
    Elsewhere(
        "L16",
        "Who replaces a credential is an allowed successor of the old one.",
        "§5.3.1",
        How.APPLICATION,
        (
            "client_lib.engine.trust.judge_proposal",
            "client_lib.engine.trust.judge_commit",
            "crypto.mls.config.GroupConfig",
        ),
        "A leaf stays with its device. Who comes back by an external commit is asked of `same_client` (X2).",
    ),
    Elsewhere(
        "L17",
        "Extensions stand only where they belong: in leaves, key packages, GroupContexts, GroupInfos.",
        "§17.3",
        How.STEP,
        (),
    ),
    Elsewhere(
        "L19",
        "Our capabilities omit the default types. Values for GREASE are types like any other, but what our own leaf "
        "lists of them we do not support.",
        "§7.2, §13.5",
        How.STEP,
        (
            "crypto.mls.rules.extensions.require_support",
            "crypto.mls.rules.welcome.w12_we_support",
            "crypto.mls.own_leaf.generate_leaf_contents",
        ),
        "A group may require one: members who list it meet that (L3, P8), and we do not join (W12).",
    ),
    Elsewhere(
        "L21",
        "An `application_id` is never taken for an identity.",
        "§5.3.3",
        How.BUILT_IN,
        ("crypto.mls.roster.Member", "client_lib.engine.trust.device_of"),
        "Nothing reads it: a member is its credential and its signature key.",
    ),
)

KEY_PACKAGES = (
    Elsewhere(
        "K2",
        "A key package's leaf is a valid one, of a key package.",
        "§10.1",
        How.STEP,
        ("crypto.mls.verified_key_package.check_key_package",),
        "The violation names the rule of section L.",
    ),
    Elsewhere(
        "K3",
        "A key package is signed by its leaf's key.",
        "§10.1",
        How.STEP,
        ("crypto.mls.key_package.verify_key_package_signature",),
        "An `AuthenticationError`.",
    ),
    Elsewhere(
        "K5",
        "A key package and the message around it are of one version.",
        "§10",
        How.BUILT_IN,
        ("crypto.mls.headers.ProtocolVersion",),
        "There is one version, and no other decodes.",
    ),
    Elsewhere(
        "K7",
        "A key package is the one that was asked for, by the hash of what came.",
        "§5.2",
        How.NOT_YET,
        ("crypto.mls.verified_key_package.VerifiedKeyPackage",),
        "Our clients ask for a device's package, whichever that is, so K8 says all. "
        "`reference` is computed from what came, for who asks for a certain one.",
    ),
    Elsewhere(
        "K8",
        "A key package is of the device that we asked for, and that device is on its account's signed list.",
        "own",
        How.APPLICATION,
        ("client_lib.engine.trust.judge_claims",),
    ),
    Elsewhere(
        "K9",
        "A key package that was used before in a group that we know is refused, unless it may be used again.",
        "§10, §16.8",
        How.NOT_YET,
        (),
        "While its owner is in a group, Q6 and L13 refuse it there. Nobody keeps a list beyond that: who made it has "
        "erased its keys (K10) and opens no second Welcome, so a server that gives it twice makes an addition fail.",
    ),
    Elsewhere(
        "K10",
        "A key package's private keys are erased with its Welcome; a last-resort one is replaced once it was used.",
        "§16.8",
        How.APPLICATION,
        ("client_lib.engine.join.welcome", "client_lib.engine.join.generate_key_packages"),
        "In the same transaction. Those of a last-resort package are kept until it has long expired.",
    ),
    Elsewhere(
        "K11",
        "We publish only what we can do.",
        "§13.4",
        How.BUILT_IN,
        ("crypto.mls.own_leaf.generate_leaf_contents",),
        "The suites that a leaf lists are those of the table of suites.",
    ),
)

TREES = (
    Elsewhere(
        "T4",
        "Each occupied parent is covered by exactly one valid chain of parent hashes.",
        "§7.9.2",
        How.STEP,
        ("crypto.mls.parent_hashes.verify",),
    ),
    Elsewhere(
        "T5",
        "That holds across blanks, unmerged leaves and in deep trees; the check never ends early.",
        "§7.9.2",
        How.STEP,
        ("crypto.mls.parent_hashes.verify",),
        "One loop over all parents, of which only the end is success.",
    ),
    Elsewhere(
        "T11",
        "A tree is truncated after removals, and is not larger than what a vector can list.",
        "§7.7",
        How.STEP,
        ("crypto.mls.ratchet_tree.RatchetTree",),
    ),
    Elsewhere(
        "T12",
        "Every tree from outside is checked, on each way in.",
        "§7.3",
        How.STEP,
        (
            "crypto.mls.joining.open_welcome",
            "crypto.mls.group_info.verify_group_info",
            "crypto.mls.snapshot.load",
        ),
        "What comes from our own store must have the tree hash of the tree that was checked.",
    ),
    Elsewhere(
        "T13",
        "Whether a leaf is valid does not depend on its place in the tree.",
        "§7.3",
        How.BUILT_IN,
        ("crypto.mls.rules.tree.t10_leaf",),
        "Its place is used where its signature covers it, and nowhere else.",
    ),
)
