"""Images as engines save them, made in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import zstandard

from containerpkg.engines.protocol import EngineImage


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


Members = Mapping[str, bytes | str | None]
"""The members of a tar: bytes are a file, text is a symbolic link and None is a folder."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """An image: its configuration and its uncompressed layers, lowest first."""

    config: bytes
    layers: tuple[bytes, ...]

    @property
    def id(self) -> str:
        return f"sha256:{digest(self.config)}"


def described(saved: Saved, members: Members) -> EngineImage:
    """``saved`` as it is told by the engine that saved ``members``."""
    index = members.get("index.json")
    targets = json.loads(index)["manifests"] if isinstance(index, bytes) else []
    names = [
        target["digest"]
        for target in targets
        if target.get("annotations") == {"config.digest": saved.id}
    ]
    return EngineImage(
        id=names[0] if names else saved.id,
        diff_ids=tuple(f"sha256:{digest(layer)}" for layer in saved.layers),
        size=sum(map(len, saved.layers)),
        architecture="amd64",
    )


def image(*layers: bytes, **changes: object) -> Saved:
    document: dict[str, object] = {
        "architecture": "amd64",
        "config": {"Cmd": ["/bin/true"]},
        "created": "2024-05-06T07:08:09.123456789Z",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}" for layer in layers]},
    }
    return Saved(config=json.dumps(document | changes).encode(), layers=layers)


def layer(seed: int, size: int = 5000) -> bytes:
    """A layer's tar, its content half random and half not."""
    noise = random.Random(seed).randbytes(size // 2)
    return archive({f"file{seed}": noise + bytes(size - len(noise))})


def archive(members: Members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def docker20(*images: Saved) -> dict[str, bytes | str | None]:
    """Docker up to 24: a folder for each step of a chain, the second of equal layers a link."""
    members: dict[str, bytes | str | None] = {}
    links: dict[bytes, str] = {}
    entries = []
    for saved in images:
        chain, paths = "", []
        for content in saved.layers:
            chain = digest(f"{chain} {digest(content)}".encode())
            paths.append(f"{chain}/layer.tar")
            if f"{chain}/" in members:
                continue
            members |= {
                f"{chain}/": None,
                f"{chain}/VERSION": b"1.0",
                f"{chain}/json": json.dumps({"id": chain}).encode(),
            }
            members[f"{chain}/layer.tar"] = f"../{links[content]}" if content in links else content
            links.setdefault(content, f"{chain}/layer.tar")
        name = f"{digest(saved.config)}.json"
        members[name] = saved.config
        entries.append({"Config": name, "RepoTags": ["x:1"], "Layers": paths})
    members["manifest.json"] = json.dumps(entries).encode()
    members["repositories"] = b'{"x":{"1":"0"}}'
    return members


def oci(
    *images: Saved, pack: Callable[[bytes], bytes], named_by: str = "config"
) -> dict[str, bytes | str | None]:
    """An OCI layout; the engine calls an image by its ``config``, ``manifest`` or ``index``."""
    members: dict[str, bytes | str | None] = {"blobs/": None, "blobs/sha256/": None}

    def add(blob: bytes) -> dict[str, object]:
        members[f"blobs/sha256/{digest(blob)}"] = blob
        return {"digest": f"sha256:{digest(blob)}", "size": len(blob)}

    def manifest(config: bytes, layers: Sequence[bytes]) -> dict[str, object]:
        document = {"schemaVersion": 2, "config": add(config), "layers": list(map(add, layers))}
        return add(json.dumps(document).encode())

    entries, targets = [], []
    for saved in images:
        packed = [pack(content) for content in saved.layers]
        target = manifest(saved.config, packed)
        if named_by == "index":
            # Another platform, which the engine does not hold, and what is attested of this one.
            statement = b'{"_type":"https://in-toto.io/Statement/v0.1"}'
            elsewhere = {"digest": f"sha256:{digest(b'elsewhere')}", "size": 9}
            attested = manifest(image(statement).config, [statement])
            index = {"schemaVersion": 2, "manifests": [elsewhere, attested, target]}
            target = add(json.dumps(index).encode())
        if named_by != "config":
            target["annotations"] = {"config.digest": saved.id}
        targets.append(target)
        entries.append(
            {
                "Config": f"blobs/sha256/{digest(saved.config)}",
                "RepoTags": ["x:1"],
                "Layers": [f"blobs/sha256/{digest(blob)}" for blob in packed],
            }
        )
    members["index.json"] = json.dumps({"manifests": targets}).encode()
    members["manifest.json"] = json.dumps(entries).encode()
    members["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    return members


def docker25(*images: Saved) -> dict[str, bytes | str | None]:
    """Docker 25 and newer: an OCI layout of uncompressed layers, and manifest.json."""
    return oci(*images, pack=bytes)


def containerd_gzip(*images: Saved) -> dict[str, bytes | str | None]:
    """Docker with containerd's image store: blobs as they were pulled, here two gzip members.

    The engine calls an image by its manifest.
    """

    def pack(content: bytes) -> bytes:
        half = len(content) // 2
        return gzip.compress(content[:half], mtime=0) + gzip.compress(content[half:], mtime=0)

    return oci(*images, pack=pack, named_by="manifest")


def containerd_zstd(*images: Saved) -> dict[str, bytes | str | None]:
    """The same with zstd, in two frames; the engine calls an image by its index."""

    def pack(content: bytes) -> bytes:
        half = len(content) // 2
        return zstandard.compress(content[:half]) + zstandard.compress(content[half:])

    return oci(*images, pack=pack, named_by="index")


def podman(*images: Saved) -> dict[str, bytes | str | None]:
    """Podman's docker-archive: layers by diff ID, and links for who expects folders."""
    members: dict[str, bytes | str | None] = {}
    entries = []
    for saved in images:
        for content in saved.layers:
            members[f"{digest(content)}.tar"] = content
        for content in saved.layers:
            folder = digest(b"v1 " + content)
            members[f"{folder}/layer.tar"] = f"../{digest(content)}.tar"
            members[f"{folder}/VERSION"] = b"1.0"
            members[f"{folder}/json"] = b"{}"
        name = f"{digest(saved.config)}.json"
        members[name] = saved.config
        layers = [f"{digest(content)}.tar" for content in saved.layers]
        entries.append({"Config": name, "RepoTags": ["x:1"], "Layers": layers})
    members["manifest.json"] = json.dumps(entries).encode()
    return members


def unpacked(blob: bytes) -> bytes:
    if blob.startswith(b"\x1f\x8b"):
        return gzip.decompress(blob)
    if blob.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True).read()
    return blob


Form = Callable[..., dict[str, bytes | str | None]]
FORMS: Sequence[Form] = (docker20, docker25, containerd_gzip, containerd_zstd, podman)
