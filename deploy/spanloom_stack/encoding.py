"""Compressed bodies of HTTP: gzip, deflate, zstd and lz4 frames, both ways."""

import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Malformed(Exception):
    """A body that is not what its Content-Encoding says."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(),
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}
# In the order we like them: an answer goes over the loopback, so speed counts and size hardly does.
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": lambda data: zstd.compress(data, 1),
    "gzip": lambda data: zlib.compress(data, 1, wbits=31),
    "deflate": lambda data: zlib.compress(data, 1),
}


async def decompressed(body: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The body's bytes as they were before `encoding` (empty or identity: as they are). Raises Malformed."""
    if encoding in ("", "identity"):
        async for chunk in body:
            yield chunk
        return
    if encoding not in _DECOMPRESSORS:
        raise Malformed(f"unknown Content-Encoding {encoding!r}; known are {', '.join(_DECOMPRESSORS)}")
    decompressor = _DECOMPRESSORS[encoding]()
    async for chunk in body:
        try:
            while chunk:
                if decompressor.eof:  # frames and members may follow one another
                    decompressor = _DECOMPRESSORS[encoding]()
                yield decompressor.decompress(chunk)
                chunk = decompressor.unused_data
        except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
            raise Malformed(f"the body is not {encoding}: {error}") from error
    if not decompressor.eof:
        raise Malformed(f"the body ends inside a {encoding} frame")


def compressed(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """`body` in the first encoding of ours that `accepted` (an Accept-Encoding header) names, and that name.

    Where it names none, `body` as it is, and None.
    """
    names = {part.split(";")[0].strip() for part in accepted.split(",")}
    for name, compress in _COMPRESSORS.items():
        if name in names:
            return compress(body), name
    return body, None
