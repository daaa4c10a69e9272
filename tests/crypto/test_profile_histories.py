"""Random histories of one profile against a naive model: who can open what, at each moment.

The server keeps every sealed field that it was ever given and shows it to everybody, and readers keep every grant that
they ever got: so this is what cryptography alone holds back, and then what a reader that keeps to the rules is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import event, given, settings
from hypothesis import strategies as st

from crypto.errors import AccessWithdrawn, AuthenticationError, Stale
from crypto.profile import (
    AcceptedGrant,
    AnyAudience,
    Chat,
    Person,
    ProfileKeys,
    RoleInChat,
    accept_grant,
    decode_profile_keys,
    encode_profile_keys,
    make_grants,
    newer_grant,
    open_granted,
    open_own_profile,
    revoke,
    rotate_field,
    set_field,
)
from crypto.profile.fields import open_field
from tests.crypto.identities import NOW
from tests.crypto.profiles import Owner, owner, text

READERS = (b"b" * 20, b"c" * 20, b"d" * 20)
NAMES = ("A", "B")
CHAT_ID = b"1" * 32
AUDIENCES: dict[AnyAudience, frozenset[bytes]] = {
    Person(READERS[0]): frozenset(READERS[:1]),
    Person(READERS[1]): frozenset(READERS[1:2]),
    Chat(CHAT_ID): frozenset(READERS),
    RoleInChat(CHAT_ID, 1): frozenset(READERS[1:]),
}


@dataclass
class Naive:
    """What a person would expect, without a word of cryptography.

    `may_open`: for each version of each field that was ever written, who can open it. While nobody loses access, who
    is granted a field joins all versions of its present run; a loss of access begins a new run.
    """

    granted: dict[str, dict[AnyAudience, set[bytes]]] = field(default_factory=dict)
    may_open: dict[tuple[bytes, int], set[bytes]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def readers(self, name: str) -> set[bytes]:
        return set().union(*self.granted[name].values())


@dataclass
class World:
    """Alice's two devices, her readers, the server, and the naive model beside them."""

    alice: Owner = field(default_factory=lambda: owner("alice"))
    devices: list[ProfileKeys] = field(default_factory=list)
    naive: Naive = field(default_factory=Naive)
    received: dict[bytes, list[AcceptedGrant]] = field(default_factory=lambda: {reader: [] for reader in READERS})
    written: int = 0

    def sit_down_at(self, device: int) -> None:
        """Change from one device to the other: it reads the profile or, if it cannot, is given the keys."""
        if not self.devices:
            self.devices = [self.alice.keys, self.alice.keys]
        newest = self.alice.keys
        if self.alice.manifest is not None:
            try:
                self.devices[device], _ = open_own_profile(
                    self.devices[device], self.alice.newest, list(self.alice.stored.values())
                )
            except Stale:
                event("keys brought from the other device")
                self.devices[device] = decode_profile_keys(encode_profile_keys(newest))
        assert self.devices[device] == newest

    def stand_up(self, device: int) -> None:
        self.devices[device] = self.alice.keys

    def set(self, name: str) -> None:
        self.written += 1
        value = f"value {self.written}"
        keys, sealed = set_field(self.alice.keys, self.alice.manifest, name, text(value))
        self.alice.publish(keys, sealed)
        self.naive.granted.setdefault(name, {})
        self.naive.values[name] = value
        before = self.naive.may_open.get((sealed.field_id, sealed.version - 1), set())
        self.naive.may_open[sealed.field_id, sealed.version] = before  # one run, one set

    def grant(self, name: str, audience: AnyAudience) -> None:
        accounts = AUDIENCES[audience]
        self.alice.book = self.alice.book.add(self.alice.keys.field(name), audience, accounts, NOW)
        self.naive.granted[name].setdefault(audience, set()).update(accounts)
        self._deliver(name, accounts)

    def revoke(self, name: str, audience: AnyAudience) -> None:
        sealed = self.alice.sealed(name)
        change = revoke(self.alice.keys, self.alice.book, self.alice.newest, sealed, audience, NOW)
        lost = self.naive.granted[name].pop(audience)
        assert change.seen_by == lost
        assert change.still_reached == lost & self.naive.readers(name)
        assert set(change.grant_again) == set(self.naive.granted[name])
        self.alice.book = change.book
        self.alice.publish(change.keys, change.field)
        self._new_run(name)

    def leave(self, reader: bytes) -> None:
        self.alice.book, to_rotate = self.alice.book.leave(CHAT_ID, reader, NOW)
        for name in self.naive.values:
            before = self.naive.readers(name)
            for audience, accounts in list(self.naive.granted[name].items()):
                if not isinstance(audience, Person):
                    accounts.discard(reader)
                    if not accounts:
                        del self.naive.granted[name][audience]
            assert (before != self.naive.readers(name)) == (self.alice.keys.field(name).field_id in to_rotate)
            if before != self.naive.readers(name):
                sealed = self.alice.sealed(name)
                self.alice.publish(*rotate_field(self.alice.keys, self.alice.newest, sealed))
                self._new_run(name)

    def remove(self, name: str) -> None:
        for audience in self.naive.granted.pop(name):
            self.alice.book = self.alice.book.revoke(self.alice.keys.field(name).field_id, audience, NOW)
        del self.naive.values[name]
        self.alice.remove(name)

    def check(self) -> None:
        """What each reader can open of all that was ever written; then, what it is told of the present."""
        for reader, grants in self.received.items():
            for sealed in self.alice.ever:
                opened = any(self._opens(grant, sealed) for grant in grants if grant.grant.field_id == sealed.field_id)
                assert opened == (reader in self.naive.may_open[sealed.field_id, sealed.version])
        for name, value in self.naive.values.items():
            field_id = self.alice.keys.field(name).field_id
            assert self.alice.book.readers(field_id) == self.naive.readers(name)
            for reader, grants in self.received.items():
                held = None
                for grant in grants:
                    if grant.grant.field_id == field_id:
                        held = newer_grant(held, grant)
                if reader in self.naive.readers(name):
                    assert held is not None
                    assert open_granted(held, self.alice.newest, self.alice.sealed(name)) == text(value)
                elif held is not None:
                    self._is_withdrawn(held, name)
        for grants in self.received.values():
            for grant in grants:
                if grant.grant.field_id not in self.alice.stored:
                    self._is_withdrawn(grant, None)
        if self.alice.manifest is not None:
            _, fields = open_own_profile(self.alice.keys, self.alice.newest, list(self.alice.stored.values()))
            assert {each.name: each.value for each in fields} == {n: text(v) for n, v in self.naive.values.items()}

    def _new_run(self, name: str) -> None:
        """A new key: the same value is written once more, for nobody but those who are granted it again."""
        sealed = self.alice.sealed(name)
        self.naive.may_open[sealed.field_id, sealed.version] = set()
        self._deliver(name, self.naive.readers(name))

    def _deliver(self, name: str, accounts: frozenset[bytes] | set[bytes]) -> None:
        (grant,) = make_grants(self.alice.keys, self.alice.newest, [name]).grants
        for reader in accounts:
            self.received[reader].append(accept_grant(grant, self.alice.account_id))
        sealed = self.alice.sealed(name)
        self.naive.may_open[sealed.field_id, sealed.version].update(accounts)

    def _opens(self, grant: AcceptedGrant, sealed: object) -> bool:
        try:
            open_field(grant.grant.key, self.alice.account_id, sealed)  # type: ignore[arg-type]  # a sealed field
        except AuthenticationError:
            return False
        return True

    def _is_withdrawn(self, grant: AcceptedGrant, name: str | None) -> None:
        try:
            open_granted(grant, self.alice.newest, None if name is None else self.alice.sealed(name))
        except AccessWithdrawn:
            return
        raise AssertionError("a reader opens what was taken from it")


STEPS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("grant"), st.sampled_from(NAMES), st.sampled_from(list(AUDIENCES))),
    st.tuples(st.just("grant"), st.sampled_from(NAMES), st.sampled_from(list(AUDIENCES))),
    st.tuples(st.just("revoke"), st.sampled_from(NAMES), st.sampled_from(list(AUDIENCES))),
    st.tuples(st.just("leave"), st.none(), st.sampled_from(READERS)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.none()),
)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 1), STEPS), max_size=40))
def test_a20_random_histories_open_what_the_model_says_and_nothing_else(
    history: list[tuple[int, tuple[str, str | None, AnyAudience | bytes | None]]],
) -> None:
    world = World()
    for name in NAMES:
        world.set(name)
    for device, step in history:
        world.sit_down_at(device)
        match step:
            case ("set", str(name), _):
                world.set(name)
            case ("grant", str(name), Person() | Chat() | RoleInChat() as audience) if name in world.naive.values:
                world.grant(name, audience)
            case ("revoke", str(name), Person() | Chat() | RoleInChat() as audience) if (
                name in world.naive.values and audience in world.naive.granted[name]
            ):
                world.revoke(name, audience)
            case ("leave", None, bytes(reader)):
                world.leave(reader)
            case ("remove", str(name), _) if name in world.naive.values:
                world.remove(name)
            case _:
                event("a step that is not possible")
        event(step[0])
        world.stand_up(device)
        world.check()
