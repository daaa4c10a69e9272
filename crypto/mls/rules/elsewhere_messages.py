"""Where the rules on messages hold that are no function: codec, framing, key schedule, message keys, a group's life.

Rows for `elsewhere`, sections C, F, S, R and D of the rule list.
"""

from __future__ import annotations

from crypto.mls.rules.how import Elsewhere, How

CODEC = (
    Elsewhere(
        "C1", "The presence byte of an optional is 0 or 1.", "§2.1.1", How.STEP, ("crypto.codecs.optional_codec",)
    ),
    Elsewhere(
        "C2", "A vector's length stands in its shortest form.", "§2.1.2", How.STEP, ("crypto.codecs._decode_length",)
    ),
    Elsewhere(
        "C3", "A length prefix of the unused class is refused.", "§2.1.2", How.STEP, ("crypto.codecs._decode_length",)
    ),
    Elsewhere(
        "C4",
        "A length fits the bytes that are left, and an input our cap, before anything is allocated.",
        "§2.1.2",
        How.STEP,
        ("crypto.codecs._decode_length", "crypto.wire.decode_prefix"),
    ),
    Elsewhere(
        "C5",
        "Nothing is left over after a message, nor inside a vector or what an extension holds.",
        "own",
        How.STEP,
        ("crypto.wire.decode_as", "crypto.codecs.vector_codec"),
    ),
    Elsewhere(
        "C6",
        "A version, wire format, type of content, sender, node, proposal or PSK that is none is refused.",
        "§6, §7.8, §8.4",
        How.STEP,
        ("crypto.codecs.enum_codec", "crypto.codecs.select_codec"),
    ),
    Elsewhere(
        "C7",
        "One value has one encoding, so signatures and hashes run over what was received.",
        "§2.1",
        How.BUILT_IN,
        ("crypto.wire.decode",),
        "Follows from C1 to C6: the decoder takes the encoder's output and nothing else.",
    ),
    Elsewhere(
        "C8",
        "What the suite fixes in size has that size: keys, KEM outputs, signatures, tags, nonces.",
        "§5.1.1, §6.3.2",
        How.STEP,
        (
            "crypto.hpke.HPKE.check_public_key",
            "crypto.hpke.HPKE.open",
            "crypto.hpke.HPKE.receive_export",
            "crypto.suites.CipherSuite.verify_mac",
            "crypto.suites.CipherSuite.verify_with_label",
            "crypto.mls.framing.SenderData",
        ),
        "Keys are checked where they enter (also L15, L20, X7), tags compared whole (F8, U11); of PSK nonces see P4.",
    ),
    Elsewhere(
        "C9",
        "Leaf and node indices are bounded before they are reckoned with.",
        "§7.8",
        How.STEP,
        (
            "crypto.mls.ratchet_tree.RatchetTree.filtered_direct_path",
            "crypto.mls.ratchet_tree.RatchetTree.leaf",
            "crypto.mls.secret_tree.SecretTree.key_for",
        ),
        "Python's integers do not wrap; an index past the tree is F4 for a sender, P3 for a Remove, T7 and W4 "
        "in a tree.",
    ),
    Elsewhere(
        "C10",
        "What comes in numbers is bounded: items of a vector, proposals, PSKs, extensions, members.",
        "§2.1.2",
        How.STEP,
        ("crypto.codecs.vector_codec",),
        "Every list of the codec has its bound, read or written: what is longer raises `DecodeError` or `UsageError`. "
        "Nesting is as deep as the structs are, which hold no recursion.",
    ),
    Elsewhere(
        "C11",
        "Extensions and capabilities that we do not know are carried untouched and given no meaning.",
        "§13",
        How.BUILT_IN,
        ("crypto.mls.extensions.Extension", "crypto.mls.extensions.RequiredCapabilities"),
        "A proposal or credential of an unknown type has no length of its own, so that nobody can carry it: "
        "it is refused.",
    ),
)

FRAMING = (
    Elsewhere(
        "F3",
        "Application data is of the current epoch or of one whose secrets we still hold; of a later one it is "
        "not guessed.",
        "§15.3",
        How.STEP,
        ("crypto.mls.messages._former_epoch", "client_lib.engine.receive.log_entry"),
        "A client of ours takes a chat's log in order and without gaps, so nothing of a later epoch waits anywhere.",
    ),
    Elsewhere(
        "F6",
        "What the AEAD refuses changes nothing.",
        "§6.3.1",
        How.STEP,
        (
            "crypto.mls.protection.open_sender_data",
            "crypto.mls.protection.open_private",
            "crypto.suites.CipherSuite.aead_open",
        ),
    ),
    Elsewhere(
        "F9",
        "A commit has a confirmation tag, and nothing else has one.",
        "§6.1",
        How.BUILT_IN,
        ("crypto.mls.framing.auth_type",),
        "The codec reads the proofs that belong to the content and knows no others.",
    ),
    Elsewhere(
        "F10",
        "A signature verifies under the key that the sender's type names, with that type's label and group context.",
        "§6.1",
        How.STEP,
        ("crypto.mls.protection.verify_framed_content", "crypto.mls.messages._public_sender"),
    ),
    Elsewhere(
        "F12",
        "The sender of a private message is a member.",
        "§6.3.2",
        How.BUILT_IN,
        ("crypto.mls.framing.SenderData", "crypto.mls.protection.open_private"),
        "It names a leaf, and opens under keys of that leaf; it has no place for another kind of sender.",
    ),
    Elsewhere(
        "F16",
        "A proposal from outside is a public message.",
        "§12.1.8",
        How.BUILT_IN,
        ("crypto.mls.protection.protect_private",),
        "As F12: whoever has no leaf has no key for a private one.",
    ),
    Elsewhere(
        "F17",
        "A message of a former epoch shows the member who sent it then, marked if its leaf has changed hands since.",
        "§6.1, §15.3",
        How.STEP,
        ("crypto.mls.former_epochs.sender_in", "crypto.mls.messages._open_former"),
    ),
    Elsewhere(
        "F18",
        "Authenticated data is bound to what the application shows.",
        "own",
        How.APPLICATION,
        ("client_lib.engine.receive._content_id",),
        "The message's id, and in the content its sender and chat; that the data belong to the message is F6.",
    ),
    Elsewhere(
        "F19",
        "",
        "",
        How.STEP,
        ("client_lib.engine.receive._process",),
        "Our own message that comes back is known by its id, and then compared byte for byte.",
    ),
    Elsewhere(
        "F21",
        "The sender that is shown is the leaf's credential.",
        "§5.3",
        How.BUILT_IN,
        ("crypto.mls.group_view.Group.receive", "client_lib.engine.receive._message"),
        "Nothing of the transport's envelope goes in, and the envelope has no sender.",
    ),
    Elsewhere(
        "F22",
        "Sender data is bound to its group, epoch and content type, its key to the ciphertext's first KDF.Nh bytes.",
        "§6.3.2",
        How.STEP,
        ("crypto.mls.protection.open_sender_data", "crypto.mls.protection.sender_data_key_nonce"),
    ),
)

KEY_SCHEDULE = (
    Elsewhere(
        "S1",
        "The order of PSKs is that of the proposals, of the Welcome and of the derivation.",
        "§8.4",
        How.BUILT_IN,
        ("crypto.mls.psk.derive_psk_secret",),
        "The index enters each derivation; another order gives another epoch, whose confirmation tag does not hold.",
    ),
    Elsewhere(
        "S2",
        "A PSK's nonce is fresh at each use; no PSK and no path are all-zero inputs.",
        "§8.4, §12.4.2",
        How.BUILT_IN,
        (
            "crypto.mls.psk_lookup.generate_psk_id",
            "crypto.mls.psk.derive_psk_secret",
            "crypto.mls.commit._without_path",
        ),
    ),
    Elsewhere(
        "S3",
        "Resumption PSKs are kept for a bounded number of epochs.",
        "§8.6",
        How.BUILT_IN,
        ("crypto.mls.psk_lookup.KeptPSKs.remember",),
    ),
    Elsewhere(
        "S4",
        "An export is no longer than the KDF gives, and each label, context and epoch has its own.",
        "§8.5",
        How.STEP,
        ("crypto.mls.key_schedule.export",),
        "That no two features share a label is for the application: none uses the exporter yet.",
    ),
    Elsewhere(
        "S5",
        "A group's id is random, as long as the hash, and its creator's choice.",
        "§11",
        How.APPLICATION,
        ("client_lib.engine.generate_chat_id", "client_lib.engine.join._join"),
        "`crypto` takes the id that it is given; a client joins no chat under another id than its Welcome says.",
    ),
    Elsewhere(
        "S6",
        "The creator chooses the best suite that all support, and a weaker one only by explicit choice.",
        "§11",
        How.APPLICATION,
        ("client_lib.engine.trust.judge_claims",),
        "All chats have one suite, so there is nothing weaker that a server could steer to.",
    ),
    Elsewhere(
        "S7",
        "Chats have Ed25519 suites, and hybrid ones where the group says so.",
        "own",
        How.APPLICATION,
        ("client_lib.engine.trust.judge_claims", "crypto.mls.rules.key_package.k1_suite"),
        "A client makes and takes key packages of X-Wing only; within a group rule K1 keeps the suite.",
    ),
)

MESSAGE_KEYS = (
    Elsewhere(
        "R1",
        "A generation of a leaf's ratchet opens at most one message, across restarts.",
        "§9.1",
        How.BUILT_IN,
        ("crypto.mls.secret_tree.SecretTree.key_for",),
        "Taking a key gives a tree that no longer has it; the rows of the one are never those of the other.",
    ),
    Elsewhere(
        "R2", "A message skips a bounded number of generations.", "§15.3", How.STEP, ("crypto.mls.secret_tree._take",)
    ),
    Elsewhere(
        "R3",
        "Keys of messages that have not come are bounded in number, and end with their epoch.",
        "§15.3",
        How.BUILT_IN,
        ("crypto.mls.secret_tree._take", "crypto.mls.former_epochs.remember"),
        "The oldest go first. Of former epochs see D3.",
    ),
    Elsewhere(
        "R4",
        "A used key, and everything that it came from, is erased before the plaintext is released.",
        "§9.2",
        How.BUILT_IN,
        (
            "crypto.mls.secret_tree.SecretTree.key_for",
            "client_lib.engine.draft.Draft.keep",
            "client_lib.store.sqlite.SQLiteStore.erase_deleted",
        ),
        "Plaintext and new state are one transaction of the client; copies in the write-ahead log go within a second.",
    ),
    Elsewhere(
        "R5",
        "A forged message uses up no key.",
        "§9.2",
        How.BUILT_IN,
        ("crypto.mls.messages._open_private", "crypto.mls.messages._open_former"),
        "The new tree is a value of its own, and comes out only once the signature has been verified.",
    ),
    Elsewhere(
        "R6",
        "Each message has a fresh random reuse guard in its nonce.",
        "§6.3.1",
        How.BUILT_IN,
        ("crypto.mls.protection.generate_reuse_guard", "crypto.mls.protection.protect_private"),
    ),
    Elsewhere(
        "R7",
        "The generation of a message is on disk before the message leaves.",
        "§6.3.1",
        How.APPLICATION,
        ("client_lib.engine.draft.Draft.adopt", "client_lib.runtime.Runtime.perform"),
        "`crypto` gives a message only together with the state after it; the client writes, and then sends.",
    ),
    Elsewhere(
        "R9",
        "Handshake and application keys never mix.",
        "§9",
        How.BUILT_IN,
        ("crypto.mls.protection._ratchet_kind",),
        "The content type, which the AEAD covers, chooses the ratchet.",
    ),
    Elsewhere(
        "R10",
        "A ratchet ends at its last generation.",
        "§9.1",
        How.STEP,
        ("crypto.mls.secret_tree.SecretTree.next_key", "crypto.mls.secret_tree._take"),
        "Rule R8 ends the epoch long before.",
    ),
)

LIFE = (
    Elsewhere(
        "D1",
        "",
        "",
        How.STEP,
        ("client_lib.engine.outbox.pump",),
        "Only the sender can keep this rule. The client commits what was proposed, and then sends.",
    ),
    Elsewhere(
        "D2",
        "Making a commit leaves our state as it was.",
        "§14",
        How.BUILT_IN,
        ("crypto.mls.group_view.Group.commit", "crypto.mls.group_view.PendingCommit"),
        "A group is a value; what is pending is adopted once the server has accepted it.",
    ),
    Elsewhere(
        "D3",
        "Secrets of former epochs are bounded in number and time.",
        "§9.2, §14",
        How.BUILT_IN,
        ("crypto.mls.former_epochs.remember", "crypto.mls.group_view.Group.forget_former_epochs"),
        "The number is the configuration's, and 0 by default; when time has passed the application says so.",
    ),
    Elsewhere(
        "D4",
        "Members who are silent too long are updated or removed.",
        "§3.2, §16.6",
        How.NOT_YET,
        (),
        "Nobody is made to leave or to renew its keys: a member may be away for as long as it likes, and its "
        "leaf with it.",
    ),
    Elsewhere(
        "D5",
        "A commit that cannot be followed is reported, so that the group can recover.",
        "§16.12",
        How.APPLICATION,
        ("client_lib.engine.receive._refuse",),
        "The chat stops and says why; a member who adds us again heals it. `crypto` refuses and changes nothing.",
    ),
    Elsewhere(
        "D6",
        "Epoch authenticators are compared end to end, so that a fork is found.",
        "§8.7",
        How.NOT_YET,
        ("crypto.mls.group_view.Group.epoch_authenticator",),
        "No client compares them yet. In a divided group the next message of the other half does not open, "
        "and that is told.",
    ),
    Elsewhere(
        "D7",
        "Stored state is authenticated and of a known version; an older copy is refused.",
        "own",
        How.APPLICATION,
        ("client_lib.store.sqlite.SQLiteStore.open", "client_lib.store.lock.StoreLock", "crypto.mls.snapshot.load"),
        "The file is encrypted with a MAC for each page and has one writer; rows of another version do not load, nor "
        "a tree that the context does not name. A whole older copy that is put back is not noticed yet.",
    ),
    Elsewhere(
        "D8",
        "A wrong clock changes no decision but those on lifetimes.",
        "§7.2",
        How.BUILT_IN,
        ("crypto.mls.rules.leaf.l10_lifetime_of_received_leaf", "crypto.mls.rules.leaf.l9_lifetime_of_sent_leaf"),
        "`crypto` has no clock: `now` goes into these comparisons, each with its tolerance, and nowhere else.",
    ),
)
