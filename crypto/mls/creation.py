"""Creating a group (RFC 9420 §11): one member, epoch 0."""

from __future__ import annotations

from types import MappingProxyType

from crypto.mls import key_schedule
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_schedule import GroupContext
from crypto.mls.own_leaf import generate_leaf
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import roster_of
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.rules import welcome as welcome_rules
from crypto.mls.rules.extensions import check_group_context_extensions
from crypto.mls.state import GroupState, state_in_epoch
from crypto.mls.tree_math import node_of
from crypto.mls.tree_nodes import KeyPackageSource, LeafContents, LeafIndex, Lifetime
from crypto.suites import CipherSuite, SignatureKeyPair
from crypto.wire import encode


def generate_group_state(
    suite: CipherSuite,
    group_id: bytes,
    contents: LeafContents,
    signer: SignatureKeyPair,
    *,
    lifetime: Lifetime,
    now: int,
    extensions: tuple[Extension, ...],
    config: GroupConfig,
) -> GroupState:
    """The creator's state. The RFC draws the epoch secret; we draw the joiner secret one step before it.

    `contents` is what our leaf says (`generate_leaf_contents`). Raises `RuleViolation` if the leaf or the extensions
    would break a rule.
    """
    leaf, private = generate_leaf(suite, contents, signer, lifetime)
    leaf_rules.check_leaf(suite, leaf, KeyPackageSource)
    leaf_rules.l11_total_lifetime(lifetime, config)
    leaf_rules.l9_lifetime_of_sent_leaf(lifetime, config, now)
    check_group_context_extensions(extensions)
    welcome_rules.w12_we_support(leaf.capabilities, extensions)

    tree = RatchetTree.of_leaf(suite, leaf)
    context = GroupContext(ProtocolVersion.MLS10, suite.id, group_id, 0, tree.tree_hash, b"", extensions)
    encoded_context = encode(context)
    secrets = key_schedule.epoch_secrets(suite, suite.generate_secret(), suite.zero_secret, encoded_context)
    own_leaf = LeafIndex(0)
    return state_in_epoch(
        suite=suite,
        config=config,
        signer=signer,
        own_leaf=own_leaf,
        context=context,
        encoded_context=encoded_context,
        confirmation_tag=key_schedule.confirmation_tag(
            suite, secrets.confirmation_key, context.confirmed_transcript_hash
        ),
        secrets=secrets,
        tree=tree,
        roster=roster_of((leaf,)),
        private_keys=MappingProxyType({node_of(own_leaf): private}),
    )
