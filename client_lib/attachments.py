"""Files on their way: read, encrypted and uploaded chunk by chunk; downloaded, checked and written the same way.

Memory stays constant whatever the size. A download is written under a temporary name and appears under its own only
after its last byte and its hash are checked.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import IO

from client_lib import content as mimi
from client_lib.errors import ClientError, TrustError
from client_lib.transport.http import HttpTransport
from crypto.attachments import (
    CHUNK_SIZE,
    SEALED_CHUNK_SIZE,
    AttachmentOpener,
    AttachmentSealer,
    chunk_count,
    ciphertext_size,
    generate_attachment_key,
)
from crypto.errors import CryptoError
from protocol.limits import ATTACHMENT_BYTES_MAX, ATTACHMENT_ID_BYTES

_URL_PREFIX = "sealdesk:attachment/"


async def upload(http: HttpTransport, chat_id: bytes, path: Path) -> mimi.ExternalPart:
    """Encrypt and upload a file for the members of a chat; returns the part that lets them have it."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if ciphertext_size(size) > ATTACHMENT_BYTES_MAX:
            raise ClientError(f"{path} is too large: at most {ATTACHMENT_BYTES_MAX:,} bytes can be sent")
        key, attachment_id = generate_attachment_key(), secrets.token_bytes(ATTACHMENT_ID_BYTES)
        sealer = AttachmentSealer(key)
        chunks = _sealed(file, sealer, size)
        await http.upload_attachment(chat_id, attachment_id, chunks, ciphertext_size(size))
    return mimi.ExternalPart(
        content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        url=_URL_PREFIX + attachment_id.hex(),
        size=size,
        enc_alg=mimi.AEAD_STREAM_CHACHA20_POLY1305,
        key=key,
        content_hash=sealer.content_hash,
        filename=path.name,
    )


async def download(http: HttpTransport, chat_id: bytes, part: mimi.ExternalPart, folder: Path) -> Path:
    """Download and decrypt a file into `folder` under a safe name that is free there; returns its path."""
    if part.enc_alg != mimi.AEAD_STREAM_CHACHA20_POLY1305 or not part.url.startswith(_URL_PREFIX):
        raise ClientError("this attachment is not one of Sealdesk's: another app must open it")
    try:
        attachment_id = bytes.fromhex(part.url.removeprefix(_URL_PREFIX))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".sealdesk-", delete=False) as file:
            temporary = Path(file.name)
            try:
                async with aclosing(http.download_attachment(chat_id, attachment_id)) as sealed:
                    await _open(sealed, part, file)
                return _place(temporary, folder / mimi.safe_filename(part.filename))
            finally:
                temporary.unlink(missing_ok=True)
    except (CryptoError, ValueError) as error:
        raise TrustError(f"the attachment was damaged or swapped on its way, nothing was kept: {error}") from error
    except OSError as error:
        raise ClientError(f"cannot write to {folder}: {error.strerror}") from error


async def _sealed(file: IO[bytes], sealer: AttachmentSealer, size: int) -> AsyncIterator[bytes]:
    count = chunk_count(size)
    for position in range(count):
        chunk = await asyncio.to_thread(file.read, CHUNK_SIZE)
        is_last = position == count - 1
        if len(chunk) != (size - position * CHUNK_SIZE if is_last else CHUNK_SIZE):
            raise ClientError("the file changed while it was sent: send it again")
        yield sealer.seal(chunk, is_last)


async def _open(sealed: AsyncIterator[bytes], part: mimi.ExternalPart, file: IO[bytes]) -> None:
    """Write the plaintext of each chunk once it is checked."""
    opener = AttachmentOpener(part.key, part.content_hash)
    remaining, buffer = ciphertext_size(part.size), bytearray()
    async for piece in sealed:
        buffer += piece
        while len(buffer) >= min(SEALED_CHUNK_SIZE, remaining) and buffer:
            chunk = bytes(buffer[:SEALED_CHUNK_SIZE])
            del buffer[:SEALED_CHUNK_SIZE]
            remaining -= len(chunk)
            await asyncio.to_thread(file.write, opener.open(chunk, remaining <= 0))
    opener.finish()
    file.flush()
    os.fsync(file.fileno())


def _place(temporary: Path, wanted: Path) -> Path:
    """Give a finished file its name, or the next free one: `scan.pdf`, `scan (1).pdf`, …; never overwrite."""
    for number in range(1000):
        path = wanted if number == 0 else wanted.with_stem(f"{wanted.stem} ({number})")
        try:
            os.link(temporary, path)
        except FileExistsError:
            continue
        return path
    raise ClientError(f"there are too many files named like {wanted.name} in {wanted.parent}: tidy up and try again")
