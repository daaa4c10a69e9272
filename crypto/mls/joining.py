"""Joining by Welcome (RFC 9420 §12.4.3.1): what the committer sends to those whom it adds, and what they make of it.

Owns both directions, `create_welcome` and `open_welcome`. The structs stand in `welcome`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from crypto.errors import UsageError
from crypto.kem import HPKEKeyPair
from crypto.mls import tree_math
from crypto.mls.commit import CreatedCommit
from crypto.mls.config import GroupConfig
from crypto.mls.group_info import generate_group_info, verify_group_info
from crypto.mls.key_package import KeyPackageBundle, key_package_reference
from crypto.mls.key_schedule import epoch_secrets, verify_confirmation_tag, welcome_key_nonce, welcome_secret
from crypto.mls.linked_groups import check_link
from crypto.mls.psk import derive_psk_secret
from crypto.mls.psk_lookup import PSKLookup, find_psks, own_psks_first
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules import welcome as rules
from crypto.mls.state import GroupState, state_in_epoch
from crypto.mls.tree_nodes import LeafIndex, NodeIndex
from crypto.mls.treekem import PrivateKeys, private_keys_from_path_secret
from crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, PathSecret, Welcome
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of
from crypto.wire import decode, encode


def create_welcome(created: CreatedCommit) -> Welcome:
    """One Welcome for all whom our commit adds (§12.4.1)."""
    state = created.next_state
    suite = state.suite
    signed = generate_group_info(state, ratchet_tree=True, external_pub=False)
    key, nonce = welcome_key_nonce(suite, created.welcome_secret)
    encrypted_group_info = suite.aead_seal(key, nonce, b"", encode(signed))

    joiners = created.changes.added
    secrets = [
        encode(GroupSecrets(created.joiner_secret, _path_secret_for(created, leaf_index), created.changes.psk_ids))
        for leaf_index in joiners
    ]
    addressed = zip([key_package.init_key for key_package in joiners.values()], secrets, strict=True)
    sealed = suite.encrypt_each_with_label("Welcome", encrypted_group_info, addressed)
    references = [key_package_reference(suite, key_package) for key_package in joiners.values()]
    entries = map(EncryptedGroupSecrets, references, sealed)
    return Welcome(suite.id, tuple(entries), encrypted_group_info)


def _path_secret_for(created: CreatedCommit, leaf_index: LeafIndex) -> PathSecret | None:
    """The secret of the lowest node of our path that is above the new member, too."""
    if not created.path_secrets:
        return None
    own_node = tree_math.node_of(created.next_state.own_leaf)
    shared = tree_math.common_ancestor(own_node, tree_math.node_of(leaf_index))
    return PathSecret(created.path_secrets[shared])


def open_welcome(
    welcome: Welcome,
    bundles: Mapping[bytes, KeyPackageBundle],
    signer: SignatureKeyPair,
    *,
    config: GroupConfig,
    held_groups: Collection[bytes],
    ratchet_tree: bytes | None,
    find_psk: PSKLookup,
    now: int,
    previous: GroupState | None,
) -> tuple[GroupState, LeafIndex, bytes]:
    """Enter the group that a Welcome leads to (§12.4.3.1).

    `bundles` are our key packages by reference; `ratchet_tree` is the encoded tree if it comes separately; `previous`
    is the group that this one is said to continue, or to be a branch of (§11.2, §11.3).
    Returns our state in it, the leaf of who signed the GroupInfo, and the reference of the key package that it used up.
    Raises `InvalidMessage`, `Unsupported`, or `UsageError` if `signer` is not the key package's.
    """
    entry, bundle = rules.w1_one_entry_is_ours(welcome, bundles)
    if bundle.key_package.leaf_node.signature_key != signer.public:
        raise UsageError("the key package was made under another signature key")
    suite = suite_of(welcome.cipher_suite)
    secrets = _open_group_secrets(suite, welcome, entry, bundle)
    rules.check_group_secrets(suite, secrets)
    link = rules.w3_reinit_or_branch_alone(secrets.psks)
    lookup = find_psk if previous is None else own_psks_first(previous, find_psk)
    psk_secret = derive_psk_secret(suite, find_psks("W3", secrets.psks, lookup))
    key, nonce = welcome_key_nonce(suite, welcome_secret(suite, secrets.joiner_secret, psk_secret))
    group_info = decode(GroupInfo, suite.aead_open(key, nonce, b"", welcome.encrypted_group_info))
    context = group_info.group_context
    rules.w6_suites_agree(group_info, bundle)
    rules.w5_group_is_new(context.group_id, held_groups)
    rules.w12_we_support(bundle.key_package.leaf_node.capabilities, context.extensions)
    verified = verify_group_info(group_info, ratchet_tree, config, now)
    tree = verified.tree
    own_leaf = rules.w8_our_leaf(tree, bundle.key_package.leaf_node, group_info.signer)
    private_keys = _private_keys(suite, tree, own_leaf, group_info, secrets, bundle)

    encoded_context = encode(context)
    epoch = epoch_secrets(suite, secrets.joiner_secret, psk_secret, encoded_context)
    tag = group_info.confirmation_tag
    verify_confirmation_tag(suite, epoch.confirmation_key, context.confirmed_transcript_hash, tag)
    if previous is not None:
        rules.w11_link_present(link, previous.reinit)
    if link is not None:
        check_link(link, context, tree, previous, config)
    state = state_in_epoch(
        suite=suite,
        config=config,
        signer=signer,
        own_leaf=own_leaf,
        context=context,
        encoded_context=encoded_context,
        confirmation_tag=tag,
        secrets=epoch,
        tree=tree,
        roster=verified.roster,
        private_keys=private_keys,
    )
    return state, LeafIndex(group_info.signer), entry.new_member


def _open_group_secrets(
    suite: CipherSuite, welcome: Welcome, entry: EncryptedGroupSecrets, bundle: KeyPackageBundle
) -> GroupSecrets:
    """Decrypt what is for us; the encrypted GroupInfo is bound to it (rule W2)."""
    keys = HPKEKeyPair(bundle.init_private, bundle.key_package.init_key)
    opened = suite.decrypt_with_label(keys, "Welcome", welcome.encrypted_group_info, entry.encrypted_group_secrets)
    return decode(GroupSecrets, opened.reveal())


def _private_keys(
    suite: CipherSuite,
    tree: RatchetTree,
    own_leaf: LeafIndex,
    group_info: GroupInfo,
    secrets: GroupSecrets,
    bundle: KeyPackageBundle,
) -> PrivateKeys:
    """Our leaf's private key and those of the ancestors that the committer's path secret gives."""
    keys: dict[NodeIndex, Secret] = {tree_math.node_of(own_leaf): bundle.encryption_private}
    if secrets.path_secret is not None:
        signer = LeafIndex(group_info.signer)
        keys |= private_keys_from_path_secret(suite, tree, own_leaf, signer, secrets.path_secret.path_secret)
    private_keys = MappingProxyType(keys)
    rules.w9_ancestors_known(tree, own_leaf, private_keys)
    return private_keys
