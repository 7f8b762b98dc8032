# ruff: noqa: E501, ISC004 - the tables hold whole messages
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from containerpkg.cli.inspecting import print_problems
from containerpkg.definitions.check import find_problems, problems_data
from containerpkg.definitions.load import find_root, load_project
from containerpkg.errors import DefinitionError, UsageError

MakeProject = Callable[[Mapping[str, str | None]], Path]

HEAD = "summary: x\nlicense: MIT\n"
DIGEST = "sha256:" + "0a" * 32
BASE = f"FROM debian@{DIGEST}\n"
SERVICE = "services: {%s: {}}\n"


def errors(root: Path) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load_project(root)
    return [
        f"{problem}" + (f" ({problem.hint})" if problem.hint else "")
        for problem in caught.value.problems
    ]


def test_a_project_is_found_from_below(make_project: MakeProject) -> None:
    root = make_project({"images/a/Dockerfile": BASE, "images/.hidden/x": "", "images/README": ""})
    assert find_root(root / "images/a") == root
    project = load_project(root / "images/a")
    assert [image.folder for image in project.images] == [root / "images/a"]
    assert (project.output, project.store) == (root / "out", root / ".containerpkg")


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_project(tmp_path)
    assert caught.value.message == (
        f"there is no containerpkg.yaml in {tmp_path} or in a folder above it"
    )


def test_arguments_of_the_image_win_over_those_of_the_project(make_project: MakeProject) -> None:
    project = load_project(
        make_project(
            {
                "containerpkg.yaml": (
                    "registry: quay.io/example\nvendor: x\nbuild: {args: {BASE: base, TAG: '1'}}\n"
                ),
                "images/base/Dockerfile": "FROM scratch",
                "images/a/Dockerfile": "ARG BASE\nARG TAG=0\nFROM quay.io/example/$BASE:$TAG",
                "images/a/image.yaml": HEAD + "build: {args: {TAG: '2'}}\n",
            }
        )
    )
    assert project.image("a").parent_references == ("quay.io/example/base:2",)


def test_docker_hub_names_are_written_out_before_they_are_compared(
    make_project: MakeProject,
) -> None:
    project = load_project(
        make_project(
            {
                "containerpkg.yaml": "registry: docker.io/example\nvendor: x\n",
                "images/base/Dockerfile": "FROM scratch",
                "images/a/Dockerfile": "FROM example/base",
            }
        )
    )
    assert project.image("a").parents == ("base",)


def test_a_stage_of_the_child_hides_what_onbuild_names(make_project: MakeProject) -> None:
    project = load_project(
        make_project(
            {
                "images/base/Dockerfile": "FROM scratch\nONBUILD COPY --from=assets a b",
                "images/a/Dockerfile": "FROM scratch AS Assets\nFROM quay.io/example/base",
            }
        )
    )
    assert project.image("a").parents == ("base",)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ["images: there is no folder of images "
              "(an image is a folder in it with a Dockerfile and an image.yaml)"]),
        ({"images/README": ""}, ["images: has no images "
                                 "(an image is a folder in it with a Dockerfile and an image.yaml)"]),
        ({"images/a/x": ""},
         ["images/a/Dockerfile: does not exist (an image's folder needs a Dockerfile or a Containerfile)",
          "images/a/image.yaml: does not exist (write one with at least 'summary:' and 'license:')"]),
        ({"images/a/Dockerfile": BASE, "images/a/image.yaml": None, "images/a/image.yml": HEAD},
         ["images/a/image.yaml: does not exist (rename image.yml to image.yaml)"]),
        ({"images/a/Dockerfile": BASE, "images/a/Containerfile": BASE},
         ["images/a: has both a Dockerfile and a Containerfile (remove the one that is not meant)"]),
        ({"images/a/Dockerfile": BASE, "images/A/Dockerfile": BASE, "images/--x\n%/Dockerfile": BASE},
         ["images/--x\\n%: cannot be the name of an image "
          "(use at most 63 lower-case letters and digits, with single . _ or - between)",
          "images/A: is a second image of the name 'a' "
          "(use at most 63 lower-case letters and digits, with single . _ or - between)"]),
        ({"images/a/Dockerfile": "FROM quay.io/example/bsae:1", "images/base/Dockerfile": BASE},
         ["images/a/Dockerfile:1: FROM quay.io/example/bsae:1: there is no image 'bsae' in images/ "
          "(did you mean 'base'?)"]),
        ({"images/a/Dockerfile": f"FROM quay.io/example/base@{DIGEST}", "images/base/Dockerfile": BASE},
         [f"images/a/Dockerfile:1: FROM quay.io/example/base@{DIGEST} names an image of this project "
          f"by digest, which is not known before it is built (write it without '@{DIGEST}')"]),
        ({"images/a/Dockerfile": f"{BASE}COPY --from=quay.io/example/c x y",
          "images/b/Dockerfile": "\nFROM quay.io/example/a:1", "images/c/Dockerfile": "FROM quay.io/example/b",
          "images/d/Dockerfile": "FROM quay.io/example/c", "images/e/Dockerfile": "FROM quay.io/example/e"},
         ["images/a/Dockerfile:2: images are built from each other: a -> c -> b -> a "
          "(images/a/Dockerfile:2 COPY quay.io/example/c, images/c/Dockerfile:1 FROM quay.io/example/b, "
          "images/b/Dockerfile:2 FROM quay.io/example/a:1) (let one of them be built from something else)",
          "images/e/Dockerfile:1: images are built from each other: e -> e "
          "(images/e/Dockerfile:1 FROM quay.io/example/e) (let one of them be built from something else)"]),
        ({"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + "package: x\n" + SERVICE % "s",
          "images/b/Dockerfile": BASE, "images/b/image.yaml": HEAD + "package: x\n" + SERVICE % "s",
          "images/c/Dockerfile": BASE, "images/c/image.yaml": HEAD + "package: x\npackaged: false\n",
          "images/d/Dockerfile": BASE, "images/d/image.yaml": HEAD + "package: oci-layer-1\n"},
         ["images/b/image.yaml:3: package: the package 'x' is already that of the image 'a' "
          "(give one of them another 'package:')",
          "images/b/image.yaml:4: services.s: s.service is already the unit of the service 's' of the image 'a' "
          "(unit names are shared by all images of a project; rename one)",
          "images/d/image.yaml:3: package: 'oci-layer-1' is a name that containerpkg itself uses"]),
        ({"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + "services:\n  b-image: {}\n"
          "  t:\n    volumes: {b-c: /x}\n    networks: [n, n]\n  u:\n    volumes: {b-c: /x}\n",
          "images/a-b/Dockerfile": BASE,
          "images/a-b/image.yaml": HEAD + "services:\n  a-n-network:\n    volumes:\n      c: /x\n",
          "images/b/Dockerfile": BASE, "images/b/image.yaml": HEAD + "services: {s: {networks: [n]}}\n"},
         ["images/a-b/image.yaml:4: services.a-n-network: a-n-network.service is already the unit of "
          "the network 'n' of the image 'a' (unit names are shared by all images of a project; rename one)",
          "images/a-b/image.yaml:6: services.a-n-network.volumes.c: a-b-c-volume.service is already the unit "
          "of the volume 'b-c' of the image 'a' (unit names are shared by all images of a project; rename one)",
          "images/b/image.yaml: b-image.service is already the unit of the service 'b-image' of the image 'a' "
          "(unit names are shared by all images of a project; rename one)"]),
        ({"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + "neighbours: {b: {}, c: {}, d: {}}\n",
          "images/b/Dockerfile": BASE, "images/b/image.yaml": HEAD + SERVICE % "s" + "neighbours:\n  c: {}\n",
          "images/c/Dockerfile": BASE, "images/c/image.yaml": HEAD + "neighbours: {e: {reference: shop:1}}\n"},
         ["images/b/image.yaml: b-image.service is already the unit of the neighbour 'b' of the image 'a' "
          "(unit names are shared by all images of a project; rename one)",
          "images/b/image.yaml:5: neighbours.c: c-image.service is already the unit of the neighbour 'c' "
          "of the image 'a' (unit names are shared by all images of a project; rename one)",
          "images/c/image.yaml:3: neighbours.e.reference: must be HOST/PATH:TAG, like "
          "quay.io/example/shop:1.0, not 'shop:1'"]),
        ({"images/a/Dockerfile": BASE, "images/a/f": "", "images/a/g": "", "images/a/dir/x": "",
          "images/a/image.yaml": HEAD + "prepare: f\nservices:\n  s:\n    config:\n"
          "      - {source: f, target: /f}\n      - {source: g, target: /g, path: /etc/s/f}\n"
          "      - {source: no, target: /f/}\n      - {source: dir, target: /dir}\n"
          "    volumes: {v: /v}\n    tmpfs: [/v]\n    secrets: {x: {source: /x, target: /v/}}\n"
          "  t:\n    config:\n      - {source: f, target: /f, path: /etc/s/f}\n",
          "images/b/Dockerfile": BASE, "images/b/image.yaml": HEAD + "prepare: no\n",
          "images/c/Dockerfile": BASE, "images/c/make": "#!/bin/sh", "images/c/image.yaml": HEAD + "prepare: make\n",
          "images/d/Dockerfile": BASE, "images/d/image.yaml": HEAD +
          "services: {d: {secrets: {x: {source: /a, credential: a}}}}\n"},
         ["images/a/image.yaml:3: prepare: f is not executable (chmod +x images/a/f)",
          "images/a/image.yaml:8: services.s.config[1].path: /etc/s/f is already a file of the service 's' "
          "of the image 'a' (give one of them another 'path:')",
          "images/a/image.yaml:9: services.s.config[2].source: there is no file no in the image's folder",
          "images/a/image.yaml:9: services.s.config[2].target: something else is already mounted on /f",
          "images/a/image.yaml:10: services.s.config[3].source: dir is not a regular file",
          "images/a/image.yaml:12: services.s.tmpfs[0]: something else is already mounted on /v",
          "images/a/image.yaml:13: services.s.secrets.x: something else is already mounted on /v",
          "images/b/image.yaml:3: prepare: there is no file no in the image's folder",
          "images/d/image.yaml:3: services.d.secrets.x: needs either 'source' or 'credential'"]),
        ({"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD +
          "services:\n  s:\n    ports:\n      - 80:80\n      - 127.0.0.1:80:81\n      - 80:80/udp\n"
          "      - 127.0.0.1:81:1\n      - 127.0.0.2:81:1\n  t:\n    ports: ['0.0.0.0:81:82']\n"},
         ["images/a/image.yaml:7: services.s.ports[1]: the host port 80/tcp is already published "
          "by the service 's'",
          "images/a/image.yaml:12: services.t.ports[0]: the host port 81/tcp is already published "
          "by the service 's'"]),
        ({"containerpkg.yaml": "registry: quay.io/example\nvendor: x\nbuild:\n  ca_bundle: no.pem\n"
          "  secrets:\n    token: {env: T}\n    ca-bundle: {env: C}\n",
          "images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + "build: {secrets: [tokn, token, zzz]}\n"},
         ["containerpkg.yaml:4: build.ca_bundle: there is no file no.pem",
          "containerpkg.yaml:7: build.secrets.ca-bundle: this name belongs to the CA bundle "
          "(use 'ca_bundle:' or another name)",
          "images/a/image.yaml:3: build.secrets[0]: containerpkg.yaml defines no secret 'tokn' "
          "(did you mean 'token'?)",
          "images/a/image.yaml:3: build.secrets[2]: containerpkg.yaml defines no secret 'zzz' "
          "(its secrets: ca-bundle, token)"]),
        ({"images/a/Dockerfile": "FROM scratch", "images/b/Dockerfile": "FROM scratch",
          "images/a/image.yaml": HEAD + "users: {x: {uid: 400}, same: {uid: 7}}\n",
          "images/b/image.yaml": HEAD + "users:\n  x: {uid: 401}\n  y: {uid: 400}\n  same: {uid: 7, gid: 7}\n"},
         ["images/b/image.yaml:4: users.x: the user has other numbers in the image 'a'",
          "images/b/image.yaml:5: users.y.uid: 400 is already the user 'x' of the image 'a'"]),
        ({"containerpkg.yaml": "registry: quay.io/example\n", "images/a/Dockerfile": "FROM",
          "images/a/image.yaml": HEAD + "x: y\n", "images/b/Dockerfile": "FROM quay.io/example/no",
          "images/b/image.yaml": HEAD + "prepare: no\n"},
         ["containerpkg.yaml: vendor: is missing (add 'vendor: …')",
          "images/a/Dockerfile:1: FROM takes IMAGE or IMAGE AS NAME",
          "images/a/image.yaml:3: x: is not a known key (known here: build, description, license, neighbours, "
          "package, packaged, payload, prepare, services, source, summary, url, users, version)",
          "images/b/image.yaml:3: prepare: there is no file no in the image's folder"]),
    ],
)  # fmt: skip
def test_all_problems_of_all_files_come_at_once(
    make_project: MakeProject, files: dict[str, str | None], expected: list[str]
) -> None:
    root = make_project(files)
    assert errors(root) == expected
    with pytest.raises(DefinitionError) as caught:
        load_project(root)
    shown = tuple(found for found in find_problems(root) if found.severity == "error")
    assert shown == caught.value.problems


def test_a_link_out_of_the_folder_is_refused(make_project: MakeProject) -> None:
    root = make_project({"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + "prepare: f\n"})
    (root / "images/a/f").symlink_to("/bin/sh")
    assert errors(root) == ["images/a/image.yaml:3: prepare: f leads out of the image's folder"]


def test_the_error_tells_the_first_problem_and_how_many_more(make_project: MakeProject) -> None:
    root = make_project({"images/a/x": ""})
    with pytest.raises(DefinitionError) as caught:
        load_project(root)
    assert caught.value.message == (
        "images/a/Dockerfile: does not exist (and 1 more: run 'containerpkg check')"
    )
    assert caught.value.hint == "an image's folder needs a Dockerfile or a Containerfile"


def test_check_warns_of_what_is_probably_not_meant(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(
        {
            "containerpkg.yaml": (
                "registry: quay.io/example\nvendor: x\nbuild:\n"
                "  args: {USED: a, NOBODY: b, http_proxy: c}\n  secrets: {idle: {env: X}}\n"
            ),
            "images/base/Dockerfile": f"ARG USED\n{BASE}ARG OWN\n",
            "images/base/image.yaml": HEAD + "build: {args: {OWN: a, OTHER: b}}\n",
            "images/a/Dockerfile": (
                "FROM base\nFROM debian:12\nFROM quay.io/example/base\n"
                "RUN --mount=type=secret,id=token --mount=type=secret,id=ca-bundle x\n"
            ),
            "images/s/Dockerfile": "FROM quay.io/example/nobody",
            "images/s/image.yaml": HEAD + SERVICE % "s",
            "images/v/Dockerfile": f"{BASE}VOLUME /a/ /b /c /d /e /e/f\n",
            "images/v/f": "",
            "images/v/image.yaml": HEAD
            + "services:\n  v:\n    volumes: {a: /a}\n    tmpfs: [/b/]\n"
            "    mounts: [{source: /x, target: /c}]\n    config: [{source: f, target: /d}]\n"
            "  w:\n    volumes: {a: /a, b: /b, c: /c, d: /d, e: /e/f}\n",
        }
    )
    print_problems(find_problems(root))
    assert (
        capsys.readouterr().out
        == """\
warning: containerpkg.yaml:4: build.args.NOBODY: no image has an 'ARG NOBODY'
warning: containerpkg.yaml:5: build.secrets.idle: no image uses this secret
warning: images/a/Dockerfile: RUN --mount=type=secret asks for 'token', which the build does not get
  hint: name it in image.yaml: build: secrets: [token]
warning: images/a/Dockerfile:1: FROM base is docker.io/library/base, not this project's image
  hint: for images/base write quay.io/example/base
warning: images/a/Dockerfile:2: FROM debian:12 can be another image tomorrow
  hint: add its digest: NAME:TAG@sha256:…
warning: images/a/image.yaml: the image has no service and no neighbour, and no other image is built from it
  hint: add 'services:', or remove the image
warning: images/base/image.yaml:3: build.args.OTHER: the Dockerfile has no 'ARG OTHER'
error: images/s/Dockerfile:1: FROM quay.io/example/nobody: there is no image 'nobody' in images/
  hint: images: a, base, s, v
warning: images/v/Dockerfile:2: VOLUME /e has no name in the service 'v', so podman deletes what is in it at each stop
  hint: in image.yaml add it to 'volumes:', or to 'tmpfs:' if that is meant
warning: images/v/Dockerfile:2: VOLUME /e has no name in the service 'w', so podman deletes what is in it at each stop
  hint: in image.yaml add it to 'volumes:', or to 'tmpfs:' if that is meant
warning: images/v/Dockerfile:2: VOLUME /e/f has no name in the service 'v', so podman deletes what is in it at each stop
  hint: in image.yaml add it to 'volumes:', or to 'tmpfs:' if that is meant
1 error, 10 warnings
"""
    )


def test_check_of_a_clean_project(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project({"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + SERVICE % "a"})
    assert find_problems(root) == ()
    print_problems(())
    assert capsys.readouterr().out == "no errors, no warnings\n"


def test_problems_as_data(make_project: MakeProject) -> None:
    root = make_project(
        {"images/a/Dockerfile": BASE, "images/a/image.yaml": HEAD + "verson: '1'\n"}
    )
    assert problems_data(find_problems(root)) == [
        {
            "severity": "error",
            "file": "images/a/image.yaml",
            "line": 3,
            "key": "verson",
            "message": "is not a known key",
            "hint": "did you mean 'version'?",
        }
    ]


def test_three_hundred_images_in_six_levels(make_project: MakeProject) -> None:
    files: dict[str, str | None] = {}
    for number in range(300):
        base = f"quay.io/example/i{number - 50:03}:1.0" if number >= 50 else "scratch"
        files[f"images/i{number:03}/Dockerfile"] = (
            f"# syntax=docker/dockerfile:1\nARG BASE={base}\nFROM ${{BASE}} AS build\n"
            "RUN --mount=type=cache,target=/c a \\\n  && b\nFROM build\nCOPY --from=build /a /b\n"
        )
    project = load_project(make_project(files))
    assert [(image.name, image.parents) for image in project.images] == [
        (f"i{number:03}", (f"i{number - 50:03}",) if number >= 50 else ()) for number in range(300)
    ]
