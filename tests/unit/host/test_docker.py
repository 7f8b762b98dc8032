"""What docker is given of an image, and how it is asked."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from containerpkg_host import door, stream
from containerpkg_host.docker import Docker
from containerpkg_host.door import TIMED_OUT, Done, Write
from containerpkg_host.host import Host
from containerpkg_host.layout import Layer, Layout

from tests.unit.host.test_explaining import LAYOUT

CONTENTS = ("manifest", "config", "layer 1", "layer 2", "layer 3")
HEX = {text: hashlib.sha256(text.encode()).hexdigest() for text in CONTENTS}
KEPT = f"example/probe:sha256-{HEX['manifest']}"


def layout(root: Path, numbers: str = "123") -> Layout:
    blobs = Host(root).blobs
    blobs.mkdir(parents=True, exist_ok=True)
    for text in CONTENTS:
        (blobs / HEX[text]).write_text(text)
    return LAYOUT._replace(
        digest=f"sha256:{HEX['manifest']}",
        id=f"sha256:{HEX['config']}",
        layers=tuple(
            Layer(f"sha256:{HEX[f'layer {n}']}", 7, f"sha256:plain{n}", 20, "p") for n in numbers
        ),
        units="docker",
        runs=KEPT,
    )


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        facts = {(m.mode, m.mtime, m.uid, m.gid, m.isreg()) for m in tar.getmembers()}
        assert facts == {(0o444, 0, 0, 0, True)}
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]


def blob(text: str) -> str:
    return f"blobs/sha256/{HEX[text]}"


def test_a_whole_image_is_a_layout_and_what_docker_save_writes(tmp_path: Path) -> None:
    file = io.BytesIO()
    stream.write(file, Host(tmp_path).blobs, layout(tmp_path, "1232"))
    found = members(file.getvalue())
    assert list(found) == [
        "manifest.json",
        "oci-layout",
        "index.json",
        *(blob(text) for text in CONTENTS),
    ]
    assert json.loads(found["manifest.json"]) == [
        {
            "Config": blob("config"),
            "RepoTags": [KEPT, "example/probe:1"],
            "Layers": [blob(f"layer {n}") for n in "1232"],
        }
    ]
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(found["index.json"]) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": f"sha256:{HEX['manifest']}",
                "size": len("manifest"),
                "annotations": {"io.containerd.image.name": name},
            }
            for name in (KEPT, "example/probe:1")
        ],
    }
    assert {name: found[name] for name in map(blob, CONTENTS)} == {
        blob(text): text.encode() for text in CONTENTS
    }


@pytest.mark.parametrize(
    ("layers", "left_out", "files"),
    [
        ("123", 1, ["config", "layer 2", "layer 3"]),
        ("123", 3, ["config"]),
        # One content at two heights: docker looks for it at the upper one.
        ("121", 1, ["config", "layer 2", "layer 1"]),
    ],
)
def test_what_docker_has_is_named_and_left_out(
    tmp_path: Path, layers: str, left_out: int, files: list[str]
) -> None:
    file = io.BytesIO()
    stream.write(file, Host(tmp_path).blobs, layout(tmp_path, layers), left_out)
    found = members(file.getvalue())
    assert list(found) == ["manifest.json", *map(blob, files)]
    (manifest,) = json.loads(found["manifest.json"])
    assert manifest["Layers"] == [blob(f"layer {n}") for n in layers]


class Daemon:
    """Docker with images of some layers; it ends ``failing`` loads with a status."""

    def __init__(self, images: Sequence[str], *, driver: str = "", failing: int = 0) -> None:
        self.images, self.driver, self.failing = images, driver, failing
        self.calls: list[str] = []
        self.streams: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Done:
        self.calls.append(" ".join(argv))
        if argv[1] == "info":
            return Done(0, f" Storage Driver: overlay2\n  driver-type: {self.driver}\n")
        if argv[2] == "ls":
            # An image with two tags stands there twice.
            return Done(0, "".join(f"sha256:{n}\nsha256:{n}\n" for n in range(len(self.images))))
        assert argv[3:] == [f"sha256:{n}" for n in range(len(self.images))]
        found = [
            {"RootFS": {"Layers": [f"sha256:plain{n}" for n in layers]} if layers else None}
            for layers in self.images
        ]
        return Done(0, json.dumps(found))

    def feed(self, argv: Sequence[str], write: Write) -> Done:
        self.calls.append(" ".join(argv))
        file = io.BytesIO()
        write(file)
        self.streams.append(list(members(file.getvalue())))
        self.failing -= 1
        return Done(1, "", "no such file or directory") if self.failing >= 0 else Done(0)


WHOLE = ["manifest.json", "oci-layout", "index.json", *map(blob, CONTENTS)]
ASK = ["docker info", "docker image ls --all --quiet --no-trunc"]
LOAD = "docker load --quiet"


@pytest.mark.parametrize(
    ("images", "left_out"),
    [
        (["1"], 1),
        (["1", "12", "9"], 2),
        (["193"], 1),
        (["123"], 3),
        (["1239"], 3),
        (["23", "2"], 0),
        ([""], 0),
    ],
)
def test_layers_of_images_in_docker_are_not_sent_again(
    tmp_path: Path, images: list[str], left_out: int
) -> None:
    daemon = Daemon(images)
    docker = Docker(Host(tmp_path, run=daemon.run, feed=daemon.feed))
    assert docker.load(layout(tmp_path)) == Done(0)
    ids = " ".join(f"sha256:{n}" for n in range(len(images)))
    assert daemon.calls == [*ASK, f"docker image inspect {ids}", LOAD]
    less = ["manifest.json", *map(blob, ["config", *CONTENTS[2 + left_out :]])]
    assert daemon.streams == [less if left_out else WHOLE]


def test_a_docker_without_images_and_one_with_the_store_of_containerd_get_all(
    tmp_path: Path,
) -> None:
    for daemon, asked in (
        (Daemon([]), ASK),
        (Daemon(["123"], driver="io.containerd.snapshotter.v1"), ASK[:1]),
    ):
        docker = Docker(Host(tmp_path, run=daemon.run, feed=daemon.feed))
        assert docker.load(layout(tmp_path)) == Done(0)
        assert (daemon.calls, daemon.streams) == ([*asked, LOAD], [WHOLE])


def test_a_load_without_layers_that_are_gone_meanwhile_is_done_again_with_all(
    tmp_path: Path,
) -> None:
    failed = Done(1, "", "no such file or directory")
    for failing, result in ((1, Done(0)), (2, failed)):
        daemon = Daemon(["1"], failing=failing)
        docker = Docker(Host(tmp_path, run=daemon.run, feed=daemon.feed))
        assert docker.load(layout(tmp_path)) == result
        assert daemon.streams[1:] == [WHOLE]
    daemon = Daemon([], failing=1)
    assert Docker(Host(tmp_path, run=daemon.run, feed=daemon.feed)).load(layout(tmp_path)) == failed
    assert daemon.streams == [WHOLE]


def test_a_program_is_fed_until_it_ends_and_ends_with_what_feeds_it() -> None:
    def endless(file: io.BufferedWriter) -> None:
        file.writelines(bytes(1 << 16) for _ in range(100))

    def broken(file: io.BufferedWriter) -> None:
        raise KeyError("blob")

    assert door.feed(["sh", "-c", "cat >&2"], lambda file: file.write(b"said")) == Done(
        0, "", "said"
    )
    assert door.feed(["sh", "-c", "echo full >&2; exit 3"], endless) == Done(3, "", "full\n")
    assert door.feed(["/nonexistent"], endless).why == "the program /nonexistent is missing"
    with pytest.raises(KeyError):
        door.feed(["cat"], broken)


def test_a_docker_that_hangs_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def hang(argv: Sequence[str]) -> Done:
        asked.append(" ".join(argv))
        return Done(TIMED_OUT, "", "docker did not answer in 60 seconds")

    docker = Docker(Host(tmp_path, run=hang))
    assert docker.volumes() == ()
    assert (docker.container("probe"), docker.inspect("probe:1"), docker.answers()) == (
        None,
        None,
        False,
    )
    assert asked == ["docker volume ls --quiet"]


def test_a_question_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_PATIENCE", 0.05)
    assert door.ask(["sleep", "60"]) == Done(TIMED_OUT, "", "sleep did not answer in 0 seconds")
    assert door.ask(["echo", "yes"]) == Done(0, "yes\n", "")
