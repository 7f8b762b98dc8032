from dataclasses import replace
from pathlib import Path

import pytest

from containerpkg.definitions.image import Neighbour
from containerpkg.definitions.service import Service
from containerpkg.errors import PackageError
from containerpkg.units.quadlet import UnitFile, render_units
from containerpkg.units.sysconfig import render_sysconfig

DIGEST = "sha256:" + 64 * "a"


def units(
    services: dict[str, dict[str, object]],
    *,
    podman: tuple[int, int] = (5, 0),
    neighbours: dict[str, dict[str, object]] | None = None,
):
    made = render_units(
        "redis",
        {name: Service.model_validate(service) for name, service in services.items()},
        summary="Redis",
        package="redis-container",
        repository="quay.io/foreman/redis",
        tag="1.0",
        digest=DIGEST,
        podman=podman,
        neighbours={n: Neighbour.model_validate(v) for n, v in (neighbours or {}).items()},
    )
    # The digest short, for the eye.
    return tuple(replace(file, text=file.text.replace(64 * "a", "aaa*")) for file in made)


FULL: dict[str, object] = {
    "description": "Redis, 100% in memory",
    "command": ["redis-server", "--requirepass", "a b $HOME %n"],
    "entrypoint": "/usr/bin/tini",
    "user": "999:999",
    "ports": ["127.0.0.1:6379:6379/tcp"],
    "volumes": {"data": "/var/lib/redis"},
    "mounts": [
        {"source": "/srv/dumps", "target": "/dumps", "read_only": False, "label": "private"}
    ],
    "config": [
        {"source": "container-assets/redis.conf", "target": "/etc/redis/redis.conf"},
        {"source": "acl", "target": "/etc/redis/acl", "path": "/etc/redis/users.acl"},
    ],
    "environment": {"TZ": "UTC", "NAME": 'a "b" $c %d'},
    "health": {"command": "redis-cli ping | grep 'PONG'", "interval": "1min"},
    "networks": ["backend"],
    "after": ["network-online.target"],
    "wants": ["network-online.target"],
    "requires": ["srv.mount"],
    "wanted_by": ["multi-user.target", "other.target"],
    "restart": "always",
    "start_timeout": "5min",
    "stop_timeout": "10s",
    "tmpfs": ["/scratch"],
    "capabilities": ["SETUID", "SETGID"],
}


def test_everything_a_service_can_say() -> None:
    assert units({"redis": FULL}) == (
        UnitFile(
            path="/usr/lib/systemd/system/redis-image.service.d/50-containerpkg.conf",
            text="""\
# Part of the package redis-container, whose next version replaces it.
# Podman is asked for the image at every start of a service, so that the first start after an update
# takes what the update brought. What podman has already is not copied again.

[Unit]
# Each start of a service is one of this unit; its services may be many.
StartLimitIntervalSec=0

[Service]
RemainAfterExit=no
# Blobs are what they should be, or podman does not get to see them.
ExecStartPre=/usr/libexec/containerpkg/containerpkg-host verify redis
# Podman does not name the file system that is full, and says nothing when it is killed.
ExecStopPost=-/bin/sh -c 'test "$${EXIT_STATUS:-0}" = 0 || exec "$$@"' sh \\
  /usr/libexec/containerpkg/containerpkg-host explain redis
""",
        ),
        UnitFile(
            path="/usr/share/containerpkg/images/redis/redis.env",
            text="""\
NAME=a "b" $c %d
TZ=UTC
""",
        ),
        UnitFile(
            path="/usr/share/containers/systemd/redis-backend.network",
            text="""\
# redis-backend.network - part of the package redis-container, whose next version replaces it.
# The network backend joins containers, of other packages too if they name it.

[Network]
NetworkName=backend
""",
        ),
        UnitFile(
            path="/usr/share/containers/systemd/redis-data.volume",
            text="""\
# redis-data.volume - part of the package redis-container, whose next version replaces it.
# The volume data stays when the packages that use it are removed.

[Volume]
VolumeName=data
""",
        ),
        UnitFile(
            path="/usr/share/containers/systemd/redis.container",
            text="""\
# redis.container - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit redis.service' for [Unit] and [Service]; for
# [Container], files in /etc/containers/systemd/redis.container.d (podman 5 and newer).
# Variables for the container belong into /etc/sysconfig/redis.

[Unit]
Description=Redis, 100%% in memory
Requires=redis-image.service
After=redis-image.service
Requires=srv.mount
Wants=network-online.target
After=network-online.target

[Container]
# A digest: this content runs and no other, whatever a tag points to.
Image=quay.io/foreman/redis@sha256:aaa*
Pull=never
ContainerName=redis
LogDriver=journald
Entrypoint=/usr/bin/tini
Exec=redis-server --requirepass "a b $$HOME %%n"
User=999:999
PublishPort=127.0.0.1:6379:6379/tcp
Network=redis-backend.network
Volume=redis-data.volume:/var/lib/redis:rw
Volume=/srv/dumps:/dumps:rw,Z
Volume=/etc/redis/redis.conf:/etc/redis/redis.conf:ro,z
Volume=/etc/redis/users.acl:/etc/redis/acl:ro,z
EnvironmentFile=/usr/share/containerpkg/images/redis/redis.env
EnvironmentFile=/etc/sysconfig/redis
HealthCmd=["CMD-SHELL", "redis-cli ping | grep 'PONG'"]
HealthInterval=60s
HealthTimeout=10s
HealthRetries=3
HealthStartPeriod=60s
# Ask often until it first answers, so that the unit is started as soon as the service is.
HealthStartupCmd=["CMD-SHELL", "redis-cli ping | grep 'PONG'"]
HealthStartupInterval=2s
HealthStartupTimeout=10s
Notify=healthy
ReadOnly=true
ReadOnlyTmpfs=true
Tmpfs=/scratch
DropCapability=all
AddCapability=CAP_SETUID
AddCapability=CAP_SETGID
NoNewPrivileges=true
StopTimeout=10

[Service]
# podman wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/redis
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/podman tag quay.io/foreman/redis@sha256:aaa* quay.io/foreman/redis:1.0
Restart=always
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=300
# Podman ends the container itself at 10 seconds; systemd gives it time to clean up.
TimeoutStopSec=40

[Install]
WantedBy=multi-user.target other.target
""",
        ),
        UnitFile(
            path="/usr/share/containers/systemd/redis.image",
            text="""\
# redis.image - part of the package redis-container, whose next version replaces it.
# Copies the image from this host's disk into podman; no registry is asked.

[Unit]
Description=Image quay.io/foreman/redis:1.0

[Image]
# A tag of this content alone: an older image keeps its own, and can be started until it is removed.
Image=oci:/usr/share/containerpkg/images/redis:quay.io/foreman/redis:sha256-aaa*
ImageTag=quay.io/foreman/redis:sha256-aaa*

[Service]
# What podman has is not copied again. So a unit from before an update, whose image the disk no
# longer has, starts the image it always did, until 'systemctl daemon-reload'.
ExecCondition=/bin/sh -c '! /usr/bin/podman image exists "$$1"' sh quay.io/foreman/redis@sha256:aaa*
TimeoutStartSec=300
""",
        ),
    )


def test_a_oneshot_is_done_before_what_needs_it() -> None:
    migrate: dict[str, object] = {
        "type": "oneshot",
        "command": ["migrate"],
        "before": ["redis.service"],
        "start_timeout": "1h",
        "read_only": False,
    }
    container = units({"redis-migrate": migrate})[1]
    assert container == UnitFile(
        path="/usr/share/containers/systemd/redis-migrate.container",
        text="""\
# redis-migrate.container - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit redis-migrate.service' for [Unit] and [Service]; for
# [Container], files in /etc/containers/systemd/redis-migrate.container.d (podman 5 and newer).
# Variables for the container belong into /etc/sysconfig/redis-migrate.

[Unit]
Description=Redis
Requires=redis-image.service
After=redis-image.service
Before=redis.service

[Container]
# A digest: this content runs and no other, whatever a tag points to.
Image=quay.io/foreman/redis@sha256:aaa*
Pull=never
ContainerName=redis-migrate
# Podman stays in front of a oneshot, and what it prints goes to the journal as it is.
LogDriver=passthrough
Exec=migrate
EnvironmentFile=/etc/sysconfig/redis-migrate
DropCapability=all
NoNewPrivileges=true
StopTimeout=90

[Service]
# podman wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/redis-migrate
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/podman tag quay.io/foreman/redis@sha256:aaa* quay.io/foreman/redis:1.0
Type=oneshot
RemainAfterExit=yes
Restart=no
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=3600
# Podman ends the container itself at 90 seconds; systemd gives it time to clean up.
TimeoutStopSec=120

[Install]
WantedBy=multi-user.target
""",
    )


def test_a_schedule_is_a_timer_and_nothing_else_starts_the_service() -> None:
    report: dict[str, object] = {"type": "oneshot", "schedule": "Mon..Fri 02:30"}
    timer, _, container, _ = sorted(
        units({"redis-report": report}), key=lambda file: not file.path.endswith(".timer")
    )
    assert timer == UnitFile(
        path="/usr/lib/systemd/system/redis-report.timer",
        text="""\
# redis-report.timer - part of the package redis-container, whose next version replaces it.
# 'systemctl enable --now redis-report.timer' turns it on;
# 'systemctl edit redis-report.timer' changes it.

[Unit]
Description=Schedule of Redis

[Timer]
OnCalendar=Mon..Fri 02:30
# What was due while the host was off runs when it is on again.
Persistent=true

[Install]
WantedBy=timers.target
""",
    )
    assert container.text.partition("[Service]")[2].splitlines()[-7:] == [
        "Type=oneshot",
        "Restart=no",
        "# So ends a container that was told to; systemd knows the signal, not the status for it.",
        "SuccessExitStatus=143",
        "TimeoutStartSec=900",
        "# Podman ends the container itself at 90 seconds; systemd gives it time to clean up.",
        "TimeoutStopSec=120",
    ]


def test_podman_4_gets_options_for_the_keys_it_lacks() -> None:
    service: dict[str, object] = {
        "entrypoint": "/bin/x",
        "health": {"command": "true"},
        "read_only": False,
        "wanted_by": [],
    }
    container = units({"redis": service}, podman=(4, 8))[1]
    assert container.path == "/usr/share/containers/systemd/redis.container"
    assert (
        container.text
        == """\
# redis.container - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit redis.service' for [Unit] and [Service]; for
# [Container], files in /etc/containers/systemd/redis.container.d (podman 5 and newer).
# Variables for the container belong into /etc/sysconfig/redis.

[Unit]
Description=Redis
Requires=redis-image.service
After=redis-image.service

[Container]
# A digest: this content runs and no other, whatever a tag points to.
Image=quay.io/foreman/redis@sha256:aaa*
Pull=never
ContainerName=redis
LogDriver=journald
PodmanArgs=--entrypoint=/bin/x
EnvironmentFile=/etc/sysconfig/redis
HealthCmd=["CMD-SHELL", "true"]
HealthInterval=30s
HealthTimeout=10s
HealthRetries=3
HealthStartPeriod=60s
# Ask often until it first answers, so that the unit is started as soon as the service is.
HealthStartupCmd=["CMD-SHELL", "true"]
HealthStartupInterval=2s
HealthStartupTimeout=10s
PodmanArgs=--sdnotify=healthy
DropCapability=all
NoNewPrivileges=true
PodmanArgs=--stop-timeout=90

[Service]
# podman wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/redis
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/podman tag quay.io/foreman/redis@sha256:aaa* quay.io/foreman/redis:1.0
Restart=on-failure
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=900
# Podman ends the container itself at 90 seconds; systemd gives it time to clean up.
TimeoutStopSec=120
"""
    )


def test_nothing_waits_for_the_network_where_podman_can_be_told() -> None:
    services: dict[str, dict[str, object]] = {
        "redis": {"volumes": {"data": "/data"}, "networks": ["backend"]}
    }
    older = {unit.path: unit.text for unit in units(services, podman=(5, 2))}
    newer = {unit.path: unit.text for unit in units(services, podman=(5, 3))}
    section = "\n[Quadlet]\nDefaultDependencies=false\n"
    why = (
        "# No registry is asked, so nothing waits for the network that does not say so in [Unit].\n"
    )
    for path, text in older.items():
        if path.endswith(".container"):
            text += section.replace("Default", f"{why}Default")
        elif path.startswith("/usr/share/containers/systemd/"):
            text += section
        assert newer[path] == text


def test_images_that_share_a_volume_or_a_network_have_units_of_their_own_for_it() -> None:
    service = Service(volumes={"data": "/data"}, networks=("backend",))
    made = {
        image: {
            file.path: file.text.partition("\n\n")[2]
            for file in render_units(
                image,
                {image: service},
                summary=image,
                package=image,
                repository=f"q/{image}",
                tag="1",
                digest=DIGEST,
                podman=(5, 0),
            )
            if file.path.endswith((".volume", ".network"))
        }
        for image in ("a", "b")
    }
    assert made == {
        image: {
            f"/usr/share/containers/systemd/{image}-backend.network": (
                "[Network]\nNetworkName=backend\n"
            ),
            f"/usr/share/containers/systemd/{image}-data.volume": "[Volume]\nVolumeName=data\n",
        }
        for image in ("a", "b")
    }


def test_services_of_an_image_share_its_image_unit_and_their_volumes() -> None:
    service: dict[str, object] = {"volumes": {"data": "/data"}, "start_timeout": "1h"}
    files = units({"redis": {}, "worker": service, "other": service})
    assert [file.path.rpartition("/")[2] for file in files] == [
        "50-containerpkg.conf",
        "other.container",
        "redis-data.volume",
        "redis.container",
        "redis.image",
        "worker.container",
    ]
    assert "TimeoutStartSec=3600\n" in files[4].text


def test_a_unit_of_another_deployment_is_pointed_at_the_image_on_disk() -> None:
    theirs: dict[str, dict[str, object]] = {"cache": {"reference": "docker.io/library/redis:7"}}
    system, quadlet = units({}, podman=(5, 4), neighbours=theirs)
    assert system == UnitFile(
        path="/usr/lib/systemd/system/cache-image.service.d/50-containerpkg.conf",
        text="""\
# Part of the package redis-container, whose next version replaces it.
# Podman is asked for the image at every start of a container, so that the first start after an
# update takes what the update brought.

[Unit]
StartLimitIntervalSec=0

[Service]
RemainAfterExit=no
""",
    )
    assert quadlet == UnitFile(
        path="/usr/share/containers/systemd/cache.image.d/20-archive.conf",
        text="""\
# Part of the package redis-container, whose next version replaces it.
# cache.image, of whatever deployment, takes its image from this host's disk; no registry is
# asked. An empty file of this name in /etc/containers/systemd/cache.image.d undoes it.

[Image]
Image=oci:/usr/share/containerpkg/images/redis:quay.io/foreman/redis:sha256-aaa*
# A digest: containers that name the unit run this content and no other.
ImageTag=quay.io/foreman/redis@sha256:aaa*

[Service]
# What podman has is not copied again. The tag is for containers that do not name the unit.
ExecCondition=/bin/sh -c '! { /usr/bin/podman image exists "$$1" && \
/usr/bin/podman tag "$$1" "$$2"; }' sh quay.io/foreman/redis@sha256:aaa* docker.io/library/redis:7
# Blobs are what they should be, or podman does not get to see them.
ExecStartPre=/usr/libexec/containerpkg/containerpkg-host verify redis
ExecStartPost=/usr/bin/podman tag quay.io/foreman/redis@sha256:aaa* docker.io/library/redis:7

[Quadlet]
DefaultDependencies=false
""",
    )
    # By default it is called there as it is here.
    (_, quadlet) = units({}, neighbours={"cache": {}})
    assert "tag quay.io/foreman/redis@sha256:aaa* quay.io/foreman/redis:1.0\n" in quadlet.text
    # Podman 4 would not read it.
    assert units({}, podman=(4, 8), neighbours=theirs) == ()


def test_an_image_without_services_has_no_units() -> None:
    assert units({}) == ()


@pytest.mark.parametrize(
    ("services", "message"),
    [
        (
            {"redis": {"command": [";"]}},
            "service 'redis': ';' would end the command, so no unit file can carry it",
        ),
        (
            {"redis": {"mounts": [{"source": "/a\\b", "target": "/c"}]}},
            r"service 'redis': the host path '/a\\b' contains a quote or a backslash",
        ),
    ],
)
def test_refused(services: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(PackageError) as caught:
        units(services)
    assert caught.value.message == message


def test_sysconfig_shows_the_defaults() -> None:
    assert (
        render_sysconfig("redis", {"TZ": "UTC", "NAME": 'a "b" $c', "FLAGS": ""})
        == """\
# Environment of the service redis, read when its container starts:
# 'systemctl restart redis' after a change.
#
# One NAME=value to a line. The value is everything after the first '=', as it stands: quotes and
# backslashes are part of it, and nothing is expanded. Updates of the package keep this file.
#
# What the package sets unless a line here says otherwise:
#
#FLAGS=
#NAME=a "b" $c
#TZ=UTC
"""
    )


def test_a_project_may_bring_its_own_template(tmp_path: Path) -> None:
    own = tmp_path / "systemd" / "quadlet.volume.j2"
    own.parent.mkdir()
    own.write_text("[Volume]\nVolumeName={{ name }}\nLabel=mine\n")
    files = render_units(
        "redis",
        {"redis": Service(volumes={"data": "/data"})},
        summary="Redis",
        package="p",
        repository="q/r",
        tag="1",
        digest=DIGEST,
        podman=(5, 0),
        project=tmp_path,
    )
    assert (
        UnitFile(
            path="/usr/share/containers/systemd/redis-data.volume",
            text="[Volume]\nVolumeName=data\nLabel=mine\n",
        )
        in files
    )
