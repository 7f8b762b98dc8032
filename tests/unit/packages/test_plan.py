import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest

from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import Image, Layers, Project, ProjectFile, TargetName
from containerpkg.errors import PackageError, StoreError
from containerpkg.packages.archive import Archive
from containerpkg.packages.image import plan_image
from containerpkg.packages.layer import plan_layer
from containerpkg.packages.plan import PackageFile, PackagePlan, Symlink
from containerpkg.packages.targets import TARGETS
from containerpkg.store.content import Blob, ContentStore, Layer, StoredImage

STORE = ContentStore(Path("/store"), Layers())
BLOBS = Path("/store/blobs/sha256")
FOLDER = Path("/project/images/redis")


def blob(digit: str, size: int) -> Blob:
    return Blob(digest=f"sha256:{64 * digit}", size=size)


BASE, TOP = blob("a", 30_000_000), blob("b", 1000)
STORED = StoredImage(
    id=blob("d", 900).digest,
    manifest=blob("c", 500),
    config=blob("d", 900),
    layers=tuple(Layer(blob=b, diff_id=b.digest, plain_size=9) for b in (BASE, TOP, TOP)),
    architecture="arm/v7",
    created="2023-11-14T22:13:20.5Z",
)


def plan(
    file: dict[str, object],
    *,
    version: str = "7.0",
    stored: StoredImage = STORED,
    **project: object,
) -> PackagePlan:
    about = {"registry": "quay.io/foreman", "vendor": "ACME", "packager": "Ops <o@a.example>"}
    image = Image(
        name="redis",
        folder=FOLDER,
        dockerfile=Dockerfile(path=FOLDER / "Dockerfile", stages=(), uses=()),
        file=ImageFile.model_validate(
            {"summary": "A store, 100% in memory", "license": "MIT"} | file
        ),
        repository="quay.io/foreman/redis",
        version=version,
        parents=(),
        parent_references=(),
    )
    return plan_image(
        Project(
            root=Path("/project"),
            file=ProjectFile.model_validate(about | project),
            images=(image,),
        ),
        image,
        stored,
        STORE,
        stamp="2",
    )


def short(text: str) -> str:
    """Long digests as ``aaa*``, for the eye."""
    for digit in "abcd":
        text = text.replace(64 * digit, 3 * digit + "*")
    return text


def test_a_layer_package_is_made_of_its_blob_alone() -> None:
    plan = plan_layer(STORE, BASE)
    assert str(plan.nevra) == "oci-layer-aaaaaaaaaaaaaaaa-1-1.noarch"
    assert plan.time == 946_684_800
    assert plan.directories == (
        "/usr/share/containerpkg",
        "/usr/share/containerpkg/blobs",
        "/usr/share/containerpkg/blobs/sha256",
    )
    assert plan.files == (
        PackageFile(
            target="/usr/share/containerpkg/blobs/sha256/" + 64 * "a",
            content=BLOBS / (64 * "a"),
            shared=True,
        ),
    )
    assert (
        short(plan.spec)
        == """\
%define percent %%
Name: oci-layer-aaaaaaaaaaaaaaaa
Version: 1
Release: 1
Summary: Layer of container images
License: LicenseRef-oci-layer
BuildArch: noarch
AutoReqProv: no
Provides: oci-blob(sha256:aaa*)

%description
One layer of container images, compressed as a registry has it. Every image
that is built on it requires it by its digest. The packages of those images
say what it contains and under which licenses.

%files
%dir %attr(0755,root,root) /usr/share/containerpkg
%dir %attr(0755,root,root) /usr/share/containerpkg/blobs
%dir %attr(0755,root,root) /usr/share/containerpkg/blobs/sha256
%attr(0644,root,root) /usr/share/containerpkg/blobs/sha256/aaa*
"""
    )


SERVICE: dict[str, object] = {
    "description": "Redis.\n%post\nrm -rf /",
    "url": "https://redis.example/a b",
    "services": {
        "redis": {
            "config": [
                {
                    "source": "container-assets/redis.conf",
                    "target": "/etc/redis.conf",
                    "mode": "0640",
                }
            ],
            "environment": {"A": "b"},
        }
    },
}


def test_the_spec_of_an_image_with_a_service() -> None:
    made = plan(SERVICE)
    assert str(made.nevra) == "redis-container-7.0-1.2.el9.armv7hl"
    assert made.time == 1_700_000_000
    assert (
        short(made.spec)
        == """\
%define percent %%
Name: redis-container
Version: 7.0
Release: 1.2.el9
Summary: A store, 100%{percent} in memory
License: MIT
URL: https://redis.example/a%{percent}20b
Vendor: ACME
Packager: Ops <o@a.example>
AutoReqProv: no
Provides: container(quay.io/foreman/redis) = 7.0
Provides: oci-manifest(sha256:ccc*)
Provides: oci-image-id(sha256:ddd*)
Requires: oci-blob(sha256:aaa*)
Requires: containerpkg-runtime
Requires: podman >= 4:5.0
Conflicts: /usr/lib/systemd/system/redis.service

%description
Redis.
\u2060%{percent}post
rm -rf /

%files
%dir %attr(0755,root,root) /etc/redis
%dir %attr(0755,root,root) /usr/lib/systemd/system/redis-image.service.d
%dir %attr(0755,root,root) /usr/share/containerpkg
%dir %attr(0755,root,root) /usr/share/containerpkg/blobs
%dir %attr(0755,root,root) /usr/share/containerpkg/blobs/sha256
%dir %attr(0755,root,root) /usr/share/containerpkg/images
%dir %attr(0755,root,root) /usr/share/containerpkg/images/redis
%config(noreplace) %attr(0640,root,root) /etc/redis/redis.conf
%config(noreplace) %attr(0640,root,root) /etc/sysconfig/redis
%attr(0644,root,root) /usr/lib/systemd/system/redis-image.service.d/50-containerpkg.conf
%attr(0644,root,root) /usr/share/containerpkg/blobs/sha256/bbb*
%attr(0644,root,root) /usr/share/containerpkg/blobs/sha256/ccc*
%attr(0644,root,root) /usr/share/containerpkg/blobs/sha256/ddd*
%attr(-,root,root) /usr/share/containerpkg/images/redis/blobs
%attr(0644,root,root) /usr/share/containerpkg/images/redis/image.json
%attr(0644,root,root) /usr/share/containerpkg/images/redis/index.json
%attr(0644,root,root) /usr/share/containerpkg/images/redis/manifest.json
%attr(0644,root,root) /usr/share/containerpkg/images/redis/oci-layout
%attr(0644,root,root) /usr/share/containerpkg/images/redis/redis.env
%attr(0644,root,root) /usr/share/containers/systemd/redis.container
%attr(0644,root,root) /usr/share/containers/systemd/redis.image
"""
    )


def test_the_files_of_an_image_with_a_service() -> None:
    made = plan(SERVICE)
    listed = [f"%dir %attr(0755,root,root) {path}" for path in made.directories]
    for file in made.files:
        mode = "-" if isinstance(file.content, Symlink) else f"{file.mode:04o}"
        config = "%config(noreplace) " if file.config else ""
        listed.append(f"{config}%attr({mode},root,root) {file.target}")
    assert made.spec.partition("%files\n")[2].splitlines() == listed
    content = {file.target: file.content for file in made.files}
    assert content["/etc/redis/redis.conf"] == FOLDER / "container-assets/redis.conf"
    blobs = "/usr/share/containerpkg/blobs/sha256/"
    assert {path: content[path] for path in content if path.startswith(blobs)} == {
        blobs + 64 * "b": BLOBS / (64 * "b"),
        blobs + 64 * "c": BLOBS / (64 * "c"),
        blobs + 64 * "d": BLOBS / (64 * "d"),
    }
    home = "/usr/share/containerpkg/images/redis/"
    assert content[home + "blobs"] == Symlink(to="../../blobs")
    assert content[home + "oci-layout"] == '{\n  "imageLayoutVersion": "1.0.0"\n}\n'
    assert (
        short(str(content[home + "index.json"]))
        == """\
{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "sha256:ccc*",
      "size": 500,
      "platform": {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7"
      },
      "annotations": {
        "org.opencontainers.image.ref.name": "quay.io/foreman/redis:sha256-ccc*"
      }
    },
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "sha256:ccc*",
      "size": 500,
      "platform": {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7"
      },
      "annotations": {
        "org.opencontainers.image.ref.name": "quay.io/foreman/redis:7.0"
      }
    }
  ]
}
"""
    )
    assert (
        short(str(content[home + "manifest.json"]))
        == """\
[
  {
    "Config": "blobs/sha256/ddd*",
    "RepoTags": [
      "quay.io/foreman/redis:7.0"
    ],
    "Layers": [
      "blobs/sha256/aaa*",
      "blobs/sha256/bbb*",
      "blobs/sha256/bbb*"
    ]
  }
]
"""
    )
    assert (
        short(str(content[home + "image.json"]))
        == """\
{
  "name": "redis",
  "package": "redis-container",
  "version": "7.0",
  "reference": "quay.io/foreman/redis:7.0",
  "manifest": "sha256:ccc*",
  "id": "sha256:ddd*",
  "architecture": "arm/v7",
  "units": "quadlet",
  "runs": "quay.io/foreman/redis@sha256:ccc*",
  "layers": [
    {
      "digest": "sha256:aaa*",
      "size": 30000000,
      "diff_id": "sha256:aaa*",
      "plain_size": 9,
      "package": "oci-layer-aaaaaaaaaaaaaaaa"
    },
    {
      "digest": "sha256:bbb*",
      "size": 1000,
      "diff_id": "sha256:bbb*",
      "plain_size": 9,
      "package": "redis-container"
    },
    {
      "digest": "sha256:bbb*",
      "size": 1000,
      "diff_id": "sha256:bbb*",
      "plain_size": 9,
      "package": "redis-container"
    }
  ],
  "services": [
    "redis"
  ],
  "volumes": []
}
"""
    )


DOCKER = "(docker-ce >= 3:25.0 or moby-engine >= 25.0 or (docker >= 25.0 and /usr/bin/dockerd))"


def test_an_image_for_neighbours_alone_needs_what_their_units_do() -> None:
    file: dict[str, object] = {"neighbours": {"shop": {}, "cache": {"reference": "a.example/b:1"}}}
    made = plan(file)
    units = [f.target for f in made.files if not f.target.startswith("/usr/share/containerpkg")]
    assert units == [
        "/usr/lib/systemd/system/cache-image.service.d/50-containerpkg.conf",
        "/usr/lib/systemd/system/shop-image.service.d/50-containerpkg.conf",
        "/usr/share/containers/systemd/cache.image.d/20-archive.conf",
        "/usr/share/containers/systemd/shop.image.d/20-archive.conf",
    ]
    assert set(made.directories) >= {unit.rpartition("/")[0] for unit in units}
    assert [line for line in made.spec.splitlines() if line.startswith(("Requires", "Conflicts"))][
        1:
    ] == ["Requires: containerpkg-runtime", "Requires: podman >= 4:5.0"]
    about = next(f.content for f in made.files if f.target.endswith("/image.json"))
    assert json.loads(str(about))["neighbours"] == [
        {"unit": "cache.image", "reference": "a.example/b:1"},
        {"unit": "shop.image", "reference": "quay.io/foreman/redis:7.0"},
    ]
    # Where nothing reads drop-ins there is nothing of it.
    assert plan(file, target="el9-docker").files == plan({}, target="el9-docker").files


def test_the_host_is_told_which_secrets_it_has_to_have() -> None:
    secrets = {"key": {"source": "/etc/pki/key", "target": "/key"}, "a": {"credential": "a.b"}}
    made = plan({"services": {"redis": {"secrets": secrets}, "other": {}}})
    about = next(f.content for f in made.files if f.target.endswith("/image.json"))
    assert json.loads(str(about))["secrets"] == [
        {"service": "redis", "name": "a", "credential": "a.b", "target": "/run/secrets/a"},
        {"service": "redis", "name": "key", "source": "/etc/pki/key", "target": "/key"},
    ]


@pytest.mark.parametrize(
    ("target", "dist", "required"),
    [
        ("el8", ".el8", "podman >= 4:4.8"),
        ("el8-podman", ".el8.podman", "podman >= 4:4.7"),
        ("el8-docker", ".el8.docker", DOCKER),
        ("el9", ".el9", "podman >= 4:5.0"),
        ("el9-podman", ".el9.podman", "podman >= 4:4.7"),
        ("el9-docker", ".el9.docker", DOCKER),
        ("el10", ".el10", "podman >= 6:5.4"),
        ("el10-podman", ".el10.podman", "podman >= 6:4.7"),
        ("el10-docker", ".el10.docker", DOCKER),
        ("fedora", ".fc", "podman >= 5:5.4"),
        ("fedora-podman", ".fc.podman", "podman >= 5:4.7"),
        ("fedora-docker", ".fc.docker", DOCKER),
    ],
)
def test_what_the_targets_differ_in(target: str, dist: str, required: str) -> None:
    made = plan(SERVICE, target=target)
    assert made.nevra.release == f"1.2{dist}"
    lines = [line for line in made.spec.splitlines() if line.startswith(("Requires", "Conflicts"))]
    first = [f"Requires: oci-blob(sha256:{64 * 'a'})", "Requires: containerpkg-runtime"]
    units = {f"{PurePosixPath(f.target).suffix}" for f in made.files if "systemd" in f.target}
    if dist.endswith((".podman", ".docker")):
        assert lines == [*first, f"Requires: {required}"]
        assert units == {".service"}
    else:
        rival = "Conflicts: /usr/lib/systemd/system/redis.service"
        assert lines == [*first, f"Requires: {required}", rival]
        assert units == {".container", ".image", ".conf"}


EL7: dict[str, object] = {
    "services": {"redis": {}, "redis-report": {"type": "oneshot", "schedule": "daily"}}
}


def test_the_spec_of_a_package_for_el7() -> None:
    made = plan(EL7, target="el7")
    assert made.payload == "w1.gzdio"
    assert (
        short(made.spec)
        == """\
%define percent %%
Name: redis-container
Version: 7.0
Release: 1.2.el7
Summary: A store, 100%{percent} in memory
License: MIT
Vendor: ACME
Packager: Ops <o@a.example>
AutoReqProv: no
Provides: container(quay.io/foreman/redis) = 7.0
Provides: oci-manifest(sha256:ccc*)
Provides: oci-image-id(sha256:ddd*)
Requires: containerpkg-runtime
Requires: /usr/lib/systemd/system/docker.service
Requires(post): systemd
Requires(preun): systemd
Requires(postun): systemd

%description
A store, 100%{percent} in memory, as the image quay.io/foreman/redis:7.0.

%post
systemctl daemon-reload >/dev/null 2>&1 || :
if [ $1 -eq 1 ]; then
  systemctl preset redis.service redis-report.timer >/dev/null 2>&1 || :
fi
[ -d /run/systemd/system ] && mkdir -p /run/containerpkg && : > /run/containerpkg/sync-wanted || :
systemctl start --no-block containerpkg-sync.service >/dev/null 2>&1 || :

%preun
if [ $1 -eq 0 ]; then
  systemctl --no-reload disable redis.service redis-report.timer >/dev/null 2>&1 || :
  systemctl stop redis-report.timer redis.service >/dev/null 2>&1 || :
fi

%postun
systemctl daemon-reload >/dev/null 2>&1 || :
[ -d /run/systemd/system ] && mkdir -p /run/containerpkg && : > /run/containerpkg/sync-wanted || :
systemctl start --no-block containerpkg-sync.service >/dev/null 2>&1 || :

%files
%dir %attr(0755,root,root) /usr/share/containerpkg
%dir %attr(0755,root,root) /usr/share/containerpkg/images
%dir %attr(0755,root,root) /usr/share/containerpkg/images/redis
%config(noreplace) %attr(0640,root,root) /etc/sysconfig/redis
%config(noreplace) %attr(0640,root,root) /etc/sysconfig/redis-report
%attr(0644,root,root) /usr/lib/systemd/system/redis-report.service
%attr(0644,root,root) /usr/lib/systemd/system/redis-report.timer
%attr(0644,root,root) /usr/lib/systemd/system/redis.service
%attr(0644,root,root) /usr/share/containerpkg/images/redis/image.json
%attr(0644,root,root) /usr/share/containerpkg/images/redis/image.tar.gz
"""
    )


def test_users_directories_and_ports_of_the_host() -> None:
    mount = {"source": "/srv/a", "target": "/a", "directory": {}}
    service = {"redis": {"ports": ["6379:6379"], "mounts": [mount]}}
    users = {"redis": {"uid": 400}, "web": {"uid": 401, "gid": 48, "description": "Web (tier 1)"}}
    file = {"users": users, "services": service}
    files = (
        "/usr/lib/firewalld/services/redis-container.xml",
        "/usr/lib/sysusers.d/redis.conf",
        "/usr/lib/tmpfiles.d/redis.conf",
    )
    for target in ("el7", "el9"):
        made = plan(file, target=target)
        assert {f.target for f in made.files} >= set(files)
        assert made.directories[:2] == ("/usr/lib/firewalld", "/usr/lib/firewalld/services")
    # Newer systemds have triggers for both, this one has no sysusers.
    spec = plan(file, target="el7").spec
    assert "Requires(pre): shadow-utils\n" in spec
    useradd = "-M -d / -s /sbin/nologin"
    assert (
        f"""\
%pre
getent group redis >/dev/null || groupadd -r -g 400 redis || :
getent passwd redis >/dev/null || useradd -r -u 400 -g redis {useradd} -c '' redis || :
getent group web >/dev/null || groupadd -r -g 48 web || :
getent passwd web >/dev/null || useradd -r -u 401 -g web {useradd} -c 'Web (tier 1)' web || :

%post
systemd-tmpfiles --create /usr/lib/tmpfiles.d/redis.conf >/dev/null 2>&1 || :
systemctl daemon-reload >/dev/null 2>&1 || :
"""
        in spec
    )


@pytest.mark.parametrize(
    ("target", "name", "form", "runs"),
    [
        ("el7", "image.tar.gz", Layers(compression="gzip", level=6), "sha256:ddd*"),
        ("el9-docker", "image.tar.zst", Layers(), "quay.io/foreman/redis:sha256-ccc*"),
        ("el9-podman", "image.tar.zst", Layers(), "sha256:ddd*"),
        ("el9", "image.tar.zst", Layers(), "sha256:ddd*"),
    ],
)
def test_an_archive_is_all_there_is_of_an_image(
    target: str, name: str, form: Layers, runs: str
) -> None:
    made = plan({"payload": "archive", "services": {"redis": {}}}, target=target)
    content = {file.target: file.content for file in made.files}
    home = "/usr/share/containerpkg/images/redis/"
    assert [path for path in content if path.startswith("/usr/share/containerpkg/")] == [
        f"{home}image.json",
        f"{home}{name}",
    ]
    assert content[home + name] == Archive(
        image=STORED,
        references=("quay.io/foreman/redis:7.0", f"quay.io/foreman/redis:sha256-{64 * 'c'}"),
        form=form,
        store=STORE,
    )
    assert "oci-blob" not in made.spec
    units = "".join(str(text) for path, text in content.items() if "/systemd/" in path)
    flavour = {"el7": "docker", "el9": "quadlet"}.get(target, target[4:])
    says = "Image=" if flavour == "quadlet" else "Environment=CONTAINERPKG_IMAGE="
    assert f"{says}{runs}" in short(units).splitlines()
    assert (
        short(str(content[home + "image.json"]))
        == f"""\
{{
  "name": "redis",
  "package": "redis-container",
  "version": "7.0",
  "reference": "quay.io/foreman/redis:7.0",
  "manifest": "sha256:ccc*",
  "id": "sha256:ddd*",
  "architecture": "arm/v7",
  "units": "{flavour}",
  "runs": "{runs}",
  "archive": "{name}",
  "layers": [
    {{
      "digest": "sha256:aaa*",
      "size": 9,
      "diff_id": "sha256:aaa*",
      "plain_size": 9,
      "package": "redis-container"
    }},
    {{
      "digest": "sha256:bbb*",
      "size": 9,
      "diff_id": "sha256:bbb*",
      "plain_size": 9,
      "package": "redis-container"
    }},
    {{
      "digest": "sha256:bbb*",
      "size": 9,
      "diff_id": "sha256:bbb*",
      "plain_size": 9,
      "package": "redis-container"
    }}
  ],
  "services": [
    "redis"
  ],
  "volumes": []
}}
"""
    )


def test_a_content_is_the_same_in_every_store() -> None:
    """What decides over a new release must not tell of this machine."""
    archive = Archive(image=STORED, references=("a",), form=Layers(), store=STORE)
    other = ContentStore(Path("/elsewhere"), Layers())
    assert str(archive) == str(replace(archive, store=other))


def test_every_target_has_a_name_that_a_project_may_give() -> None:
    assert tuple(TARGETS) == get_args(TargetName)


def test_directories_of_configuration_are_owned_but_for_those_of_every_host() -> None:
    paths = [
        "/etc/other/conf.d/deep/a.conf",
        "/etc/single.conf",
        "/etc/sysconfig/extra/a",
        "/etc/pki/tls/a",
    ]
    config = [{"source": "a", "target": f"/{n}", "path": path} for n, path in enumerate(paths)]
    made = plan({"services": {"redis": {"config": config}}})
    assert [path for path in made.directories if path.startswith("/etc")] == [
        "/etc/other",
        "/etc/other/conf.d",
        "/etc/other/conf.d/deep",
    ]


def test_the_vendor_is_the_packager_where_none_is_named() -> None:
    assert "\nVendor: ACME\nPackager: ACME\n" in plan({}, packager=None).spec


def test_what_packages_may_share_is_marked() -> None:
    shared = {file.target for file in plan(SERVICE).files if file.shared}
    assert shared == {f"/usr/share/containerpkg/blobs/sha256/{64 * d}" for d in "bcd"}


def test_an_image_without_services_needs_no_podman_and_brings_no_units() -> None:
    made = plan({}, target="fedora")
    assert str(made.nevra) == "redis-container-7.0-1.2.fc.armv7hl"
    assert [line for line in made.spec.splitlines() if line.startswith(("Requires", "URL"))] == [
        f"Requires: oci-blob(sha256:{64 * 'a'})"
    ]
    assert made.directories == (
        "/usr/share/containerpkg",
        "/usr/share/containerpkg/blobs",
        "/usr/share/containerpkg/blobs/sha256",
        "/usr/share/containerpkg/images",
        "/usr/share/containerpkg/images/redis",
    )


@pytest.mark.parametrize(
    ("file", "version", "message"),
    [
        ({}, "7-0", "RPM does not allow the version '7-0' in package 'redis-container'"),
        ({"summary": "a\x9b", "description": "d"}, "7", "'a\\x9b' contains a control character"),
        (
            {
                "services": {
                    name: {"config": [{"source": name, "target": "/c", "path": "/etc/same"}]}
                    for name in ("a", "b")
                }
            },
            "7",
            "two different files would be /etc/same",
        ),
        (
            {"payload": "layers", "target": "el7"},
            "7",
            "image 'redis' has 'payload: layers', which hosts of the target 'el7' cannot load",
        ),
    ],
)
def test_refused(file: dict[str, object], version: str, message: str) -> None:
    project = {"target": file.pop("target")} if "target" in file else {}
    with pytest.raises(PackageError) as caught:
        plan(file, version=version, **project)
    assert caught.value.message == message


def test_a_digest_that_is_none() -> None:
    with pytest.raises(StoreError):
        plan_layer(STORE, Blob(digest="sha256:../../etc/passwd", size=1))


@pytest.mark.parametrize(
    ("created", "time"),
    [
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000),
        # What packages share is of 2000, and rpm takes no file to be newer than its package.
        ("1970-01-01T00:00:00Z", 946_684_800),
    ],
)
def test_the_time_of_a_package_is_that_of_its_image(created: str, time: int) -> None:
    assert plan({}, stored=replace(STORED, created=created)).time == time


def test_a_time_that_is_none() -> None:
    with pytest.raises(PackageError) as caught:
        plan({}, stored=replace(STORED, created="yesterday"))
    assert caught.value.message == "the image's creation time 'yesterday' is not an RFC 3339 time"
