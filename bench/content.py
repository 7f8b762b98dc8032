"""Deterministic file trees that weigh and compress like installed software.

A tree is a tar of many small and a few large files (sizes log-normal, as in a distribution's
base system) of three kinds, by bytes:

    text     phrases by Zipf's law from a made-up vocabulary: scripts, licences, documentation
    code     short byte sequences by Zipf's law with random operands between: machine code, tables
    packed   random bytes: pictures, archives, compressed manuals

With the shares below ``zstd -3`` makes one byte of 2.6 (of a Debian base system: 2.4). The same
seed gives the same bytes.
"""

from __future__ import annotations

import io
import math
import random
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

_SHARES = (("text", 0.36), ("code", 0.50), ("packed", 0.14))
_MEDIAN_SIZE = 4_000
_SIGMA = 2.0
_LARGEST = 8_000_000

_Part = TypeVar("_Part", str, bytes)


def write_tree(path: Path, *, seed: str, size: int) -> None:
    """Write a tar of about ``size`` bytes of files to ``path``."""
    rng = random.Random(seed)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number, (kind, content) in enumerate(_files(rng, size)):
            folder = f"opt/{seed}/{number // 500:03}/{kind}"
            member = tarfile.TarInfo(f"{folder}/{rng.randrange(16**8):08x}")
            member.size = len(content)
            member.mode = 0o755 if kind == "code" else 0o644
            tar.addfile(member, io.BytesIO(content))


def _files(rng: random.Random, size: int) -> Iterator[tuple[str, bytes]]:
    kinds, shares = zip(*_SHARES, strict=True)
    left = {kind: size * share for kind, share in _SHARES}
    while any(left.values()):
        (kind,) = rng.choices(kinds, shares)
        wanted = int(min(rng.lognormvariate(math.log(_MEDIAN_SIZE), _SIGMA), _LARGEST, left[kind]))
        left[kind] -= max(wanted, 1)
        left[kind] = max(left[kind], 0)
        yield kind, _MAKERS[kind](rng, wanted)


def _text(rng: random.Random, size: int) -> bytes:
    phrases, weights = _phrases()
    return "".join(rng.choices(phrases, cum_weights=weights, k=size // 8 + 1)).encode()[:size]


def _code(rng: random.Random, size: int) -> bytes:
    sequences, weights = _sequences()
    picked = rng.choices(sequences, cum_weights=weights, k=size // 4 + 1)
    return b"".join(picked)[:size]


def _packed(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size)


_MAKERS: dict[str, Callable[[random.Random, int], bytes]] = {
    "text": _text,
    "code": _code,
    "packed": _packed,
}


@cache
def _phrases() -> tuple[Sequence[str], Sequence[float]]:
    rng = random.Random("vocabulary")
    words = [
        "".join(rng.choices("etaoinshrdlucmfwypvbgk", range(22, 0, -1), k=rng.randint(2, 9)))
        for _ in range(4000)
    ]
    ends = (" ", " ", " ", " ", ", ", ".\n", ";\n    ", " = ", "(", ")\n")
    phrases = [
        " ".join(rng.choices(words, k=rng.randint(1, 4))) + rng.choice(ends) for _ in range(12000)
    ]
    return phrases, _zipf(len(phrases))


@cache
def _sequences() -> tuple[Sequence[bytes], Sequence[float]]:
    rng = random.Random("instructions")
    sequences = [rng.randbytes(rng.randint(2, 12)) for _ in range(4000)]
    return sequences, _zipf(len(sequences))


def _zipf(count: int) -> list[float]:
    return list(accumulate(1 / (rank + 3) for rank in range(count)))
