"""The validation rules of RFC 9420, one small function each.

A function is named after its rule: `l13_encryption_key_unique` is row L13 of the rule list, says in
its docstring what must hold and in which section, and raises `RuleViolation("L13", …)` otherwise. A rule whose failure
is a failed signature, MAC or AEAD raises `AuthenticationError` instead, which tells nothing more. The modules sort the
rules by what they judge: `extensions`, `tree_shape`, `leaf`, `key_package`, `tree`, `proposal_list`, `commit`,
`external`, `welcome`, `message`. Of these `extensions` and `tree_shape` need no tree; all others stand above it.

The functions called `check_…` apply several rules in order. Rules about *who* a member is (may this account be here,
is its device listed, does its role allow this) are the application's: it judges staged values before it adopts them.
"""
