import pytest

from containerpkg.definitions.service import Service
from containerpkg.errors import PackageError
from containerpkg.units.flavour import Flavour, Version, render_units
from containerpkg.units.hardening import hardening
from tests.unit.units.test_quadlet import FULL

SYSTEM = "/usr/lib/systemd/system/"


def units(
    flavour: Flavour,
    services: dict[str, dict[str, object]],
    *,
    engine: Version | None = None,
    systemd: int = 252,
) -> dict[str, str]:
    made = render_units(
        "redis",
        {name: Service.model_validate(service) for name, service in services.items()},
        flavour=flavour,
        engine=engine or {"quadlet": (5, 0), "podman": (4, 7), "docker": (25, 0)}[flavour],
        summary="Redis",
        package="redis-container",
        repository="quay.io/foreman/redis",
        tag="1.0",
        digest=f"sha256:{64 * 'a'}",
        image_id=f"sha256:{64 * 'b'}",
        systemd=systemd,
    )
    # The digests short, for the eye.
    return {
        unit.path: unit.text.replace(64 * "a", "aaa*").replace(64 * "b", "bbb*") for unit in made
    }


DEFAULTS = {"/usr/share/containerpkg/images/redis/redis.env": 'NAME=a "b" $c %d\nTZ=UTC\n'}


def test_everything_a_service_can_say_for_podman() -> None:
    assert units("podman", {"redis": FULL}) == DEFAULTS | {
        f"{SYSTEM}redis.service": """\
# redis.service - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit redis.service'.
# Variables for the container belong into /etc/sysconfig/redis.

[Unit]
Description=Redis, 100%% in memory
Requires=srv.mount
Wants=network-online.target
After=network-online.target
RequiresMountsFor=%t/containers
RequiresMountsFor="/srv/dumps"

[Service]
Type=notify
NotifyAccess=all
Environment=PODMAN_SYSTEMD_UNIT=%n
SyslogIdentifier=%N
# What runs: this content and no other.
Environment=CONTAINERPKG_IMAGE=quay.io/foreman/redis@sha256:aaa*
# More options of 'podman run', for drop-ins.
Environment=CONTAINERPKG_OPTIONS=
Delegate=yes
KillMode=mixed
# Copies the image from this host's disk into podman unless it is there; no registry is asked.
ExecStartPre=/bin/sh -c '/usr/bin/podman image exists "$$CONTAINERPKG_IMAGE" || exec "$$@"' sh \\
  /usr/libexec/containerpkg/containerpkg-host load --for redis redis
ExecStartPre=/usr/bin/podman network create --ignore backend
# podman wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/redis
ExecStart=/usr/bin/podman run \\
  --name=redis \\
  --replace \\
  --rm \\
  --pull=never \\
  --cgroups=split \\
  --detach \\
  --sdnotify=healthy \\
  --log-driver=journald \\
  --entrypoint=/usr/bin/tini \\
  --user=999:999 \\
  --publish=127.0.0.1:6379:6379/tcp \\
  --network=backend \\
  --volume=data:/var/lib/redis:rw \\
  --volume=/srv/dumps:/dumps:rw,Z \\
  --volume=/etc/redis/redis.conf:/etc/redis/redis.conf:ro,z \\
  --volume=/etc/redis/users.acl:/etc/redis/acl:ro,z \\
  --env-file=/usr/share/containerpkg/images/redis/redis.env \\
  --env-file=/etc/sysconfig/redis \\
  "--health-cmd=[\\"CMD-SHELL\\", \\"redis-cli ping | grep 'PONG'\\"]" \\
  --health-interval=60s \\
  --health-timeout=10s \\
  --health-retries=3 \\
  --health-start-period=60s \\
  "--health-startup-cmd=[\\"CMD-SHELL\\", \\"redis-cli ping | grep 'PONG'\\"]" \\
  --health-startup-interval=2s \\
  --health-startup-timeout=10s \\
  --read-only \\
  --read-only-tmpfs \\
  --tmpfs=/scratch \\
  --cap-drop=all \\
  --cap-add=SETUID \\
  --cap-add=SETGID \\
  --security-opt=no-new-privileges \\
  --stop-timeout=10 \\
  $CONTAINERPKG_OPTIONS ${CONTAINERPKG_IMAGE} redis-server --requirepass "a b $$HOME %%n"
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/podman tag ${CONTAINERPKG_IMAGE} quay.io/foreman/redis:1.0
ExecStop=/usr/bin/podman rm --volumes --force --ignore redis
ExecStopPost=-/usr/bin/podman rm --volumes --force --ignore redis
Restart=always
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=300
# Podman ends the container itself at 10 seconds; systemd gives it time to clean up.
TimeoutStopSec=40

[Install]
WantedBy=multi-user.target other.target
"""
    }


def test_everything_a_service_can_say_for_docker() -> None:
    assert units("docker", {"redis": FULL}) == DEFAULTS | {
        f"{SYSTEM}redis.service": """\
# redis.service - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit redis.service'.
# Variables for the container belong into /etc/sysconfig/redis.

[Unit]
Description=Redis, 100%% in memory
Requires=docker.service
After=docker.service
Requires=srv.mount
Wants=network-online.target
After=network-online.target
RequiresMountsFor="/srv/dumps"

[Service]
# Docker stays in front: its status is the container's.
Type=exec
SyslogIdentifier=%N
# What runs: this content and no other.
Environment=CONTAINERPKG_IMAGE=quay.io/foreman/redis:sha256-aaa*
# More options of 'docker run', for drop-ins.
Environment=CONTAINERPKG_OPTIONS=
# Docker's client and what prepares its start need no more; the container is none of this.
NoNewPrivileges=yes
PrivateTmp=yes
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX
SystemCallArchitectures=native
ProtectHome=read-only
MemoryDenyWriteExecute=yes
ProtectSystem=full
ReadWritePaths=-/etc/sysconfig
RestrictRealtime=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
ProtectHostname=yes
RestrictSUIDSGID=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProcSubset=pid
ProtectProc=invisible
# Copies the image from this host's disk into docker unless it is there, and removes what a crash
# has left; no registry is asked. Docker is asked for both at once, as nobody is served meanwhile.
ExecStartPre=/bin/sh -c ' \\
  /usr/bin/docker container inspect "$$3" > /dev/null 2>&1 & \\
  case $$(/usr/bin/docker image inspect --format="{{.Id}}" "$$CONTAINERPKG_IMAGE" 2>&1) in \\
    "$$1" | "$$2") wait $$! || exit 0 ;; \\
  esac; \\
  shift 3; exec "$$@"' sh sha256:bbb* sha256:aaa* redis \\
  /usr/libexec/containerpkg/containerpkg-host load --for redis redis
# It may be there.
ExecStartPre=-/usr/bin/docker network create backend
# docker wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/redis
ExecStart=/usr/bin/docker run \\
  --name=redis \\
  --label=containerpkg.unit=redis.service \\
  --rm \\
  --log-driver=none \\
  --pull=never \\
  --entrypoint=/usr/bin/tini \\
  --user=999:999 \\
  --publish=127.0.0.1:6379:6379/tcp \\
  --network=backend \\
  --volume=data:/var/lib/redis:rw \\
  --volume=/srv/dumps:/dumps:rw,Z \\
  --volume=/etc/redis/redis.conf:/etc/redis/redis.conf:ro,z \\
  --volume=/etc/redis/users.acl:/etc/redis/acl:ro,z \\
  --env-file=/usr/share/containerpkg/images/redis/redis.env \\
  --env-file=/etc/sysconfig/redis \\
  "--health-cmd=redis-cli ping | grep 'PONG'" \\
  --health-interval=60s \\
  --health-timeout=10s \\
  --health-retries=3 \\
  --health-start-period=60s \\
  --health-start-interval=2s \\
  --read-only \\
  --tmpfs=/run:rw,exec,nosuid,nodev \\
  --tmpfs=/tmp:rw,exec,nosuid,nodev \\
  --tmpfs=/var/tmp:rw,exec,nosuid,nodev \\
  --tmpfs=/scratch \\
  --cap-drop=all \\
  --cap-add=SETUID \\
  --cap-add=SETGID \\
  --security-opt=no-new-privileges \\
  --stop-timeout=10 \\
  $CONTAINERPKG_OPTIONS ${CONTAINERPKG_IMAGE} redis-server --requirepass "a b $$HOME %%n"
ExecStartPost=/usr/libexec/containerpkg/containerpkg-host wait-healthy redis
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/docker tag ${CONTAINERPKG_IMAGE} quay.io/foreman/redis:1.0
ExecStop=-/usr/bin/docker stop redis
# What a client that was killed, or got no answer, leaves behind; one that was told of the end has
# waited for the removal too. Only the unit's own: another's may have the name.
# While docker is down its socket keeps who asks waiting, and docker waits for the end of this unit.
ExecStopPost=-/bin/sh -c ' \\
  case $$EXIT_CODE/$$EXIT_STATUS in exited/12?) ;; exited/*) exit ;; esac; \\
  systemctl --quiet is-active docker.service || exit 0; \\
  ids=$$(/usr/bin/docker ps --all --quiet --filter=label=containerpkg.unit=$$1); \\
  [ -z "$$ids" ] || exec /usr/bin/docker rm --force --volumes $$ids' sh %n
Restart=always
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=300
# Docker ends the container itself at 10 seconds; systemd gives it time to clean up.
TimeoutStopSec=40

[Install]
WantedBy=multi-user.target other.target
"""
    }


ONCE: dict[str, object] = {
    "type": "oneshot",
    "before": ["redis.service"],
    "tmpfs": ["/run"],
    "start_timeout": "1h",
}


def test_a_oneshot_of_podman_stays_in_front() -> None:
    assert units("podman", {"migrate": ONCE}) == {
        f"{SYSTEM}migrate.service": """\
# migrate.service - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit migrate.service'.
# Variables for the container belong into /etc/sysconfig/migrate.

[Unit]
Description=Redis
Before=redis.service
RequiresMountsFor=%t/containers

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=PODMAN_SYSTEMD_UNIT=%n
SyslogIdentifier=%N
# What runs: this content and no other.
Environment=CONTAINERPKG_IMAGE=quay.io/foreman/redis@sha256:aaa*
# More options of 'podman run', for drop-ins.
Environment=CONTAINERPKG_OPTIONS=
Delegate=yes
KillMode=mixed
# Copies the image from this host's disk into podman unless it is there; no registry is asked.
ExecStartPre=/bin/sh -c '/usr/bin/podman image exists "$$CONTAINERPKG_IMAGE" || exec "$$@"' sh \\
  /usr/libexec/containerpkg/containerpkg-host load --for migrate redis
# podman wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/migrate
ExecStart=/usr/bin/podman run \\
  --name=migrate \\
  --replace \\
  --rm \\
  --pull=never \\
  --cgroups=split \\
  --sdnotify=ignore \\
  --log-driver=passthrough \\
  --env-file=/etc/sysconfig/migrate \\
  --read-only \\
  --read-only-tmpfs \\
  --tmpfs=/run \\
  --cap-drop=all \\
  --security-opt=no-new-privileges \\
  --stop-timeout=90 \\
  $CONTAINERPKG_OPTIONS ${CONTAINERPKG_IMAGE}
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/podman tag ${CONTAINERPKG_IMAGE} quay.io/foreman/redis:1.0
ExecStopPost=-/usr/bin/podman rm --volumes --force --ignore migrate
Restart=no
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=3600
# Podman ends the container itself at 90 seconds; systemd gives it time to clean up.
TimeoutStopSec=120

[Install]
WantedBy=multi-user.target
"""
    }


def test_a_oneshot_of_docker() -> None:
    assert units("docker", {"migrate": ONCE}) == {
        f"{SYSTEM}migrate.service": """\
# migrate.service - part of the package redis-container, whose next version replaces it.
# Change it with drop-ins: 'systemctl edit migrate.service'.
# Variables for the container belong into /etc/sysconfig/migrate.

[Unit]
Description=Redis
Requires=docker.service
After=docker.service
Before=redis.service

[Service]
Type=oneshot
RemainAfterExit=yes
SyslogIdentifier=%N
# What runs: this content and no other.
Environment=CONTAINERPKG_IMAGE=quay.io/foreman/redis:sha256-aaa*
# More options of 'docker run', for drop-ins.
Environment=CONTAINERPKG_OPTIONS=
# Docker's client and what prepares its start need no more; the container is none of this.
NoNewPrivileges=yes
PrivateTmp=yes
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX
SystemCallArchitectures=native
ProtectHome=read-only
MemoryDenyWriteExecute=yes
ProtectSystem=full
ReadWritePaths=-/etc/sysconfig
RestrictRealtime=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
ProtectHostname=yes
RestrictSUIDSGID=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProcSubset=pid
ProtectProc=invisible
# Copies the image from this host's disk into docker unless it is there, and removes what a crash
# has left; no registry is asked. Docker is asked for both at once, as nobody is served meanwhile.
ExecStartPre=/bin/sh -c ' \\
  /usr/bin/docker container inspect "$$3" > /dev/null 2>&1 & \\
  case $$(/usr/bin/docker image inspect --format="{{.Id}}" "$$CONTAINERPKG_IMAGE" 2>&1) in \\
    "$$1" | "$$2") wait $$! || exit 0 ;; \\
  esac; \\
  shift 3; exec "$$@"' sh sha256:bbb* sha256:aaa* migrate \\
  /usr/libexec/containerpkg/containerpkg-host load --for migrate redis
# docker wants the file to be there; an administrator may have removed it.
ExecStartPre=-/bin/sh -c 'umask 0137 && : >> "$$1"' sh /etc/sysconfig/migrate
ExecStart=/usr/bin/docker run \\
  --name=migrate \\
  --label=containerpkg.unit=migrate.service \\
  --rm \\
  --log-driver=none \\
  --pull=never \\
  --env-file=/etc/sysconfig/migrate \\
  --read-only \\
  --tmpfs=/tmp:rw,exec,nosuid,nodev \\
  --tmpfs=/var/tmp:rw,exec,nosuid,nodev \\
  --tmpfs=/run \\
  --cap-drop=all \\
  --security-opt=no-new-privileges \\
  --stop-timeout=90 \\
  $CONTAINERPKG_OPTIONS ${CONTAINERPKG_IMAGE}
# For people: the tag names what was started last. Not before, as nobody is served meanwhile.
ExecStartPost=-/usr/bin/docker tag ${CONTAINERPKG_IMAGE} quay.io/foreman/redis:1.0
# What a client that was killed, or got no answer, leaves behind; one that was told of the end has
# waited for the removal too. Only the unit's own: another's may have the name.
# While docker is down its socket keeps who asks waiting, and docker waits for the end of this unit.
ExecStopPost=-/bin/sh -c ' \\
  case $$EXIT_CODE/$$EXIT_STATUS in exited/12?) ;; exited/*) exit ;; esac; \\
  systemctl --quiet is-active docker.service || exit 0; \\
  ids=$$(/usr/bin/docker ps --all --quiet --filter=label=containerpkg.unit=$$1); \\
  [ -z "$$ids" ] || exec /usr/bin/docker rm --force --volumes $$ids' sh %n
Restart=no
# So ends a container that was told to; systemd knows the signal, not the status for it.
SuccessExitStatus=143
TimeoutStartSec=3600
# Docker ends the container itself at 90 seconds; systemd gives it time to clean up.
TimeoutStopSec=120

[Install]
WantedBy=multi-user.target
"""
    }


@pytest.mark.parametrize("flavour", ["podman", "docker"])
def test_a_schedule_has_the_same_timer_in_all_flavours(flavour: Flavour) -> None:
    services: dict[str, dict[str, object]] = {"report": {"type": "oneshot", "schedule": "daily"}}
    made = units(flavour, services)
    assert list(made) == [f"{SYSTEM}report.service", f"{SYSTEM}report.timer"]
    timer = f"{SYSTEM}report.timer"
    assert made[timer] == units("quadlet", services)[timer]
    assert "RemainAfterExit" not in made[f"{SYSTEM}report.service"]
    assert "[Install]" not in made[f"{SYSTEM}report.service"]


def test_an_older_systemd_gets_what_it_knows() -> None:
    assert hardening(219) == [
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER",
        "PrivateDevices=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "SystemCallArchitectures=native",
        "ProtectHome=read-only",
    ]
    assert {line.partition("=")[0] for line in set(hardening(252)) - set(hardening(239))} == {
        "ProcSubset",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectProc",
        "RestrictSUIDSGID",
    }


@pytest.mark.parametrize(("systemd", "kind"), [(219, "simple"), (239, "simple"), (240, "exec")])
def test_docker_is_waited_for_where_systemd_can(systemd: int, kind: str) -> None:
    text = units("docker", {"redis": FULL}, systemd=systemd)[f"{SYSTEM}redis.service"]
    assert f"\nType={kind}\n" in text


def test_a_service_without_a_check_is_started_when_its_container_is() -> None:
    service: dict[str, dict[str, object]] = {"redis": {"read_only": False, "wanted_by": []}}
    podman = units("podman", service)[f"{SYSTEM}redis.service"]
    docker = units("docker", service)[f"{SYSTEM}redis.service"]
    assert "  --sdnotify=conmon \\\n" in podman
    assert "wait-healthy" not in podman
    # Docker's client has begun to ask for it by then, and no more.
    assert (
        "\nExecStartPost=/usr/libexec/containerpkg/containerpkg-host wait-healthy redis\n" in docker
    )
    assert "[Install]" not in podman + docker
    assert "--read-only" not in podman + docker


@pytest.mark.parametrize(
    ("version", "options"),
    [
        ((1, 13), []),
        ((20, 10), ["--health-start-period=60s"]),
        ((25, 0), ["--health-start-period=60s", "--health-start-interval=2s"]),
    ],
)
def test_older_dockers_get_the_options_that_they_know(version: Version, options: list[str]) -> None:
    text = units("docker", {"redis": {"health": {"command": "x"}}}, engine=version)
    lines = [line.strip(" \\") for line in text[f"{SYSTEM}redis.service"].splitlines()]
    assert [line for line in lines if line.startswith("--health-start-")] == options


@pytest.mark.parametrize(
    ("flavour", "engine", "service", "message"),
    [
        (
            "docker",
            (1, 13),
            {"networks": ["a", "b"]},
            "service 'redis': docker 1.13 starts no container in 2 networks",
        ),
        (
            "podman",
            (4, 7),
            {"command": [";"]},
            "service 'redis': ';' would end the command, so no unit file can carry it",
        ),
    ],
)
def test_refused(
    flavour: Flavour, engine: Version, service: dict[str, object], message: str
) -> None:
    with pytest.raises(PackageError) as caught:
        units(flavour, {"redis": service}, engine=engine)
    assert caught.value.message == message
