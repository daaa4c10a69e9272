"""The object store: attachments' bytes, streamed both ways in constant memory, through `obstore`.

An object is named by a random id, new for each upload, so that two uploads never write the same one. It becomes visible
when it is complete; an upload that ends early leaves nothing, and that of a server that was killed nothing after the
next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from backend import limits
from backend.errors import ProblemError
from backend.settings import Settings
from protocol.codes import Code


def open_store(settings: Settings) -> Any:
    """The store that the settings name; by default a folder in the data folder, made if missing."""
    if settings.attachments_url is not None:
        return from_url(settings.attachments_url)
    folder = settings.data_folder.absolute() / "attachments"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # sizes and times are nobody else's business
    return LocalStore(folder)


def delete_staged(store: Any) -> None:
    """Delete what uploads left behind that a killed server was taking. Only before anybody uploads.

    In a folder a half-written object is `NAME#NUMBER`. A bucket keeps unfinished uploads out of sight, and ends them by
    a rule of its own.
    """
    if isinstance(store, LocalStore) and store.prefix is not None:
        for path in Path(store.prefix).glob("??/*#*"):
            path.unlink()


async def put(store: Any, object_id: bytes, chunks: AsyncIterator[bytes], size_bytes: int) -> None:
    """Store exactly `size_bytes` from `chunks`, or nothing.

    Raises `ProblemError`: malformed for another size or an upload that stops moving, unavailable when the store fails.
    """
    refusal: list[ProblemError] = []

    async def measured() -> AsyncIterator[bytes]:
        # obstore wraps what its source raises: keep ours to raise it again.
        try:
            async for chunk in _exactly(chunks, size_bytes):
                yield chunk
        except ProblemError as error:
            refusal.append(error)
            raise

    try:
        await obstore.put_async(
            store,
            _path(object_id),
            measured(),
            use_multipart=True,
            chunk_size=limits.OBJECT_PART_BYTES,
            max_concurrency=limits.OBJECT_PARTS_AT_ONCE,
        )
    except (BaseError, ProblemError) as error:
        if refusal:
            raise refusal[0] from error
        raise ProblemError(Code.UNAVAILABLE, "the object store does not take it now") from error


async def get(store: Any, object_id: bytes) -> AsyncIterator[bytes]:
    """Open an object and return its bytes in chunks. Raises `ProblemError` unavailable if it cannot be read."""
    try:
        result = await obstore.get_async(store, _path(object_id))
    except BaseError as error:
        raise ProblemError(Code.UNAVAILABLE, "the object store does not give it now") from error

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in result.stream(min_chunk_size=limits.ATTACHMENT_CHUNK_BYTES):
            yield bytes(chunk)

    return chunks()


async def delete(store: Any, object_id: bytes) -> None:
    """Delete an object that nothing refers to. Raises `ProblemError` unavailable."""
    try:
        await obstore.delete_async(store, _path(object_id))
    except BaseError as error:
        raise ProblemError(Code.UNAVAILABLE, "the object store does not answer now") from error


async def _exactly(chunks: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    received = 0
    while True:
        try:
            async with asyncio.timeout(limits.ATTACHMENT_IDLE_TIMEOUT_S):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise ProblemError(Code.MALFORMED, "the upload stopped moving") from None
        if chunk is None:
            break
        received += len(chunk)
        if received > size_bytes:
            raise ProblemError(Code.MALFORMED, "the body is longer than its Content-Length")
        if chunk:
            yield chunk
    if received != size_bytes:
        raise ProblemError(Code.MALFORMED, "the body is shorter than its Content-Length")


def _path(object_id: bytes) -> str:
    name = object_id.hex()
    return f"{name[:2]}/{name}"
