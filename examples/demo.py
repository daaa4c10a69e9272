"""`make demo`: three people talk through a real server, which is then searched for everything that they said.

A customer, a worker and a bot, each with processes and a store of their own, in a private chat and in a group, with a
file each way; a member comes and goes. What each of them saw is printed beside what the server holds of it.

Run it as `python -m examples.demo`, with `--json` for programs. Everything is in a temporary folder and ends with it.
Exit codes: 0 if nothing was found, 1 if something was, or if something did not go as told; 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.operator import OperatorError
from examples.search import BlindSearch, Place, search, windows
from examples.stage import Held, Person, Stage, StageError, ended_by_signals
from examples.telling import Row, Telling
from sealdesk_cli.errors import while_read

CONTACTS = {
    "Clara": {"Wim": "Wim (workshop)", "Triage": "Repair desk"},
    "Wim": {"Clara": "Clara Jansen", "Triage": "Triage bot"},
}
"""What each person calls the others: names that stay in their own stores."""


@dataclass(slots=True)
class Cast:
    """Who is in the story, and every plaintext in it: what it is → the pieces to search for."""

    stage: Stage
    telling: Telling
    customer: Person
    worker: Person
    bot: Person
    plaintexts: dict[str, Sequence[bytes]] = field(default_factory=dict)

    def wrote(self, who: Person, text: str) -> None:
        """Remember a text."""
        self.plaintexts[f"message of {who.name}: {text}"] = [text.encode()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, search, clean up. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="tell it as JSON, one value a line")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        with ended_by_signals(), Telling(options.json) as telling:
            telling.progress("Starting the server with a PostgreSQL of its own")
            with Stage() as stage:
                cast = introduce(stage, telling)
                chat = play(cast)
                found = conclude(cast, chat)
                telling.progress("Ending the server and removing the folder")
            seconds = round(time.monotonic() - started)
            text = f"{len(found)} found. Everything has ended and is removed, after {seconds} s."
            telling.verdict(text, not found, found=len(found), seconds=seconds)
    except (StageError, BlindSearch, OperatorError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if found else 0


def introduce(stage: Stage, telling: Telling) -> Cast:
    """Three accounts, each with a store and keys of its own, made at the same time."""
    telling.progress("Inviting and registering a customer, a worker and a bot")
    people = [stage.person(name) for name in ("Clara", "Wim", "Triage")]
    clara, wim, triage = people
    cast = Cast(stage, telling, clara, wim, triage)
    with ThreadPoolExecutor() as pool:
        links = [record["link"] for (record,) in pool.map(lambda _: stage.sealdesk("invite"), people)]
        accounts = dict(zip([person.name for person in people], pool.map(Person.register, people, links), strict=True))
        list(pool.map(lambda person: name_contacts(person, accounts), (cast.customer, cast.worker)))
    for person in people:
        cast.plaintexts[f"recovery phrase of {person.name}"] = [accounts[person.name]["recovery_phrase"].encode()]
        for name in CONTACTS.get(person.name, {}).values():
            cast.plaintexts[f"contact name: {name}"] = [name.encode()]
    telling.chapter("A server, and three accounts with keys that never leave their encrypted stores")
    roles = ("customer", "worker", "bot")
    for person, role in zip(people, roles, strict=True):
        address = accounts[person.name]["address"]
        telling.event("account", [(person.name, f"{role}, {address}")], who=person.name, role=role, address=address)
    where = (
        "your PostgreSQL, in a database of the demo's own" if stage.settings.database_url else "an embedded PostgreSQL"
    )
    telling.event("server", [("server", f"{stage.settings.url}, {where}")], url=stage.settings.url, database=where)
    return cast


def name_contacts(person: Person, accounts: dict[str, dict[str, Any]]) -> None:
    """Write the others into this person's contacts."""
    for other, name in CONTACTS[person.name].items():
        person.sealdesk("contact", accounts[other]["address"], name)


def play(cast: Cast) -> str:
    """The conversation. Returns the id of the group chat."""
    talk_privately(cast)
    return talk_in_a_group(cast)


def talk_privately(cast: Cast) -> None:
    """One chat for two, a file each way, and a reply."""
    clara, wim = cast.customer, cast.worker
    cast.telling.chapter(
        "A private chat, with a file each way. The first bytes at the server name chat and format only."
    )
    receipt = new_file(cast, clara, "receipt-4711.pdf", make_pdf("Receipt 4711: one bicycle, brakes to be repaired"))
    photo = new_file(cast, wim, "front-brake.png", make_png(300))

    cast.telling.progress("Clara writes to Wim and attaches a PDF")
    asked = say(cast, clara, "Wim (workshop)", "Good morning! Is my bicycle ready? Here is the receipt.", receipt)
    heard = wim.wait_for_message()
    show(cast, clara, asked, wim, heard, receipt)

    cast.telling.progress("Wim answers with a photo")
    answer = "Nearly: the brakes take until 18:00. That makes 42 €. This is what I found:"
    answered = say(cast, wim, "Clara Jansen", answer, photo, reply_to=heard["message"])
    heard = clara.wait_for_message()
    expect(heard["reply_to"] == asked["message"], "the answer does not refer to the question")
    show(cast, wim, answered, clara, heard, photo)


def talk_in_a_group(cast: Cast) -> str:
    """A bot is added, answers, and is removed; what comes after is not for it."""
    clara, wim, bot = cast.customer, cast.worker, cast.bot
    cast.telling.chapter("A group chat: the bot is added, answers a command, and is removed again")
    cast.telling.progress("Wim opens a group with Clara and adds the bot")
    process = cast.stage.start("examples.triage_bot", str(bot.store), log=bot.store.parent / "bot.log")
    chat = str(wim.sealdesk("group new", "Clara Jansen")[0]["chat"])
    show_members(cast, wim, wim.sealdesk("group add", chat, "Triage bot")[0], "added the bot")

    cast.telling.progress("Clara asks, and the bot answers")
    asked = say(cast, clara, chat, "/status 4711")
    heard = clara.wait_for_message()
    cast.wrote(bot, heard["text"])
    expect(heard["reply_to"] == asked["message"], "the bot's answer does not refer to the question")
    show(cast, clara, asked, wim, next(heard for heard in wim.listen() if heard["message"] == asked["message"]))
    show(cast, bot, heard, clara, heard)

    cast.telling.progress("Wim removes the bot, and Clara goes on")
    show_members(cast, wim, wim.sealdesk("group remove", chat, "Triage bot")[0], "removed the bot")
    last = say(cast, clara, chat, "Between us: the spare key lies under the blue flowerpot.")
    show(cast, clara, last, wim, next(heard for heard in wim.listen() if heard["message"] == last["message"]))

    cast.telling.progress("The bot ends, and its store is looked into")
    expect(cast.stage.end(process) == 0, "the bot did not end gracefully")
    history = bot.store.parent / "history.jsonl"
    bot.sealdesk("export", "--output", str(history))
    records = [json.loads(line) for line in history.read_text().splitlines()]
    read = [record["text"] for record in records if not record["is_ours"]]
    expect(read == ["/status 4711"], "the bot's own store does not have the question alone")
    cast.telling.event("store", [("Triage has", f"{read[0]}, and nothing that came later")], who="Triage", read=read)
    return chat


def say(
    cast: Cast, who: Person, to: str, text: str, attach: Path | None = None, reply_to: str | None = None
) -> dict[str, Any]:
    """Send a message, and remember it for the search."""
    cast.wrote(who, text)
    options = ["--attach", str(attach)] if attach is not None else []
    options += ["--reply-to", reply_to] if reply_to is not None else []
    sent = who.send(to, text, *options)
    expect(sent["status"] == "sent", f"a message of {who.name} did not go out")
    return sent


def show(
    cast: Cast, writer: Person, sent: dict[str, Any], reader: Person, heard: dict[str, Any], file: Path | None = None
) -> None:
    """One message: what its writer and its reader saw, beside what the server holds of it."""
    expect(heard["text"] == sent["text"], f"{reader.name} read something else than {writer.name} wrote")
    chat, position = sent["chat"], sent["position"]
    held = cast.stage.held_message(chat, position)
    rows: list[Row] = [(f"{writer.name} wrote", sent["text"]), (f"{reader.name} read", heard["text"])]
    rows.append(("server", f"chat {chat[:6]} position {position}, {describe(held)}"))
    fields: dict[str, object] = {}
    if file is not None:
        attachment = heard["attachments"][0]
        expect(Path(cast.stage.folder, attachment["path"]).read_bytes() == file.read_bytes(), "a file came out changed")
        blob = cast.stage.held_file(chat)
        rows.insert(2, (f"{reader.name} got", f"{file.name}, {file.stat().st_size:,} bytes, the very same"))
        rows.append(("server", f"attachment of {describe(blob)}"))
        fields["file"] = {"name": file.name, "size": file.stat().st_size, "server": as_record(blob)}
    server = {"chat": chat, "position": position, **as_record(held)}
    cast.telling.event(
        "message",
        rows,
        writer=writer.name,
        wrote=sent["text"],
        reader=reader.name,
        read=heard["text"],
        server=server,
        **fields,
    )


def show_members(cast: Cast, who: Person, chat: dict[str, Any], what: str) -> None:
    """A change of members, as the person and as the server see it."""
    names = [member["name"] for member in chat["members"]]
    position = cast.stage.newest_position(chat["chat"])
    held = cast.stage.held_message(chat["chat"], position)
    rows = [
        (who.name, f"{what}; there are {len(names)} of them now"),
        ("server", f"chat {chat['chat'][:6]} position {position}, {describe(held)}"),
    ]
    server = {"chat": chat["chat"], "position": position, **as_record(held)}
    cast.telling.event("members", rows, who=who.name, what=what, members=names, server=server)


def conclude(cast: Cast, chat: str) -> list[object]:
    """Search everything that the server keeps for everything that was said."""
    cast.telling.progress("Dumping the database and searching it")
    places, markers = cast.stage.places(chat)
    found = search(cast.plaintexts, places, markers)
    pieces = sum(len(pieces) for pieces in cast.plaintexts.values())
    cast.telling.chapter("The search: everything that the server keeps, for everything that was said")
    rows = [
        ("looked for", f"{len(cast.plaintexts)} texts, files, file names, contact names and recovery phrases"),
        ("", f"in {pieces} pieces, each as it is, in hex, in base64 and in other forms"),
        ("looked in", ", ".join(kept(places))),
        ("proof", f"{len(markers)} things that were put there were looked for first, and found"),
        *(("FOUND", f"{finding.what} in {finding.place}, {finding.form}") for finding in found),
    ]
    cast.telling.event(
        "search",
        rows,
        plaintexts=len(cast.plaintexts),
        pieces=pieces,
        places={place.name: len(place.data) for place in places},
        markers_found=len(markers),
        found=[[finding.what, finding.place, finding.form] for finding in found],
    )
    return list(found)


def kept(places: Sequence[Place]) -> list[str]:
    """The places, with their sizes; the files of a folder are one."""
    sizes: dict[str, int] = {}
    for place in places:
        name = place.name.partition(":")[0].partition(",")[0]
        sizes[name] = sizes.get(name, 0) + len(place.data)
    return [f"{name} ({size:,} bytes)" for name, size in sizes.items()]


def describe(held: Held) -> str:
    """What can be seen of it."""
    return f"{held.size:,} bytes: {held.first[:6].hex(' ')} … {held.last[-3:].hex(' ')}"


def as_record(held: Held) -> dict[str, object]:
    """The same for programs."""
    return {"size": held.size, "first_bytes": held.first.hex(), "last_bytes": held.last.hex()}


def expect(true: bool, otherwise: str) -> None:
    """The story is checked while it is told."""
    if not true:
        raise StageError(f"this went wrong: {otherwise}")


def new_file(cast: Cast, owner: Person, name: str, content: bytes) -> Path:
    """A file in somebody's folder, remembered for the search: its name, and pieces of its content."""
    path = owner.store.parent / name
    path.write_bytes(content)
    cast.plaintexts[f"file name: {name}"] = [name.encode()]
    cast.plaintexts[f"file content: {name}"] = windows(content)
    return path


def make_pdf(text: str) -> bytes:
    """A one-page PDF."""
    stream = f"BT /F1 14 Tf 40 50 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    pdf, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(pdf))
    return pdf + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


def make_png(width: int) -> bytes:
    """A square grey picture of noise: it does not compress, so it takes more than one chunk of an attachment."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + os.urandom(width) for _ in range(width))
    header = struct.pack(">IIBBBBB", width, width, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    sys.exit(while_read(main))
