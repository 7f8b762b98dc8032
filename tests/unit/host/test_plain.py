"""Services that start a container themselves, as people write them."""

from __future__ import annotations

import pytest
from containerpkg_host.plain import parse_command

VARIABLES = {
    "IMAGE": "quay.io/a/web:1",
    "OPTIONS": "--publish=80:80 --env='A=b c' --pull never",
    "EMPTY": "",
    "TAG": "3",
}
MISSING, NEVER, ALWAYS = "missing", "never", "always"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/usr/bin/docker run nginx", ("docker", "nginx", MISSING)),
        ("docker run --rm --name %n -p 80:80 nginx -g 'daemon off;'", ("docker", "nginx", MISSING)),
        ("-/bin/docker run -dit -p80:80 -v /a:/b nginx --pull=never", ("docker", "nginx", MISSING)),
        ("docker run -it -e A=b --env C=d -eE=f nginx", ("docker", "nginx", MISSING)),
        ("docker run -itv /a:/b -w /srv -u 1:1 -m 512m nginx", ("docker", "nginx", MISSING)),
        ("docker run --pull=always --restart no nginx", ("docker", "nginx", ALWAYS)),
        ("docker run --pull never --init -P nginx", ("docker", "nginx", NEVER)),
        ("docker run --rm=true -t=false nginx", ("docker", "nginx", MISSING)),
        ("docker run --name web -- nginx -x", ("docker", "nginx", MISSING)),
        ("docker -H unix:///run/d.sock run nginx", ("docker", "nginx", MISSING)),
        ("docker --log-level=debug container run nginx", ("docker", "nginx", MISSING)),
        ("docker run --health-cmd 'curl -f http://localhost' nginx", ("docker", "nginx", MISSING)),
        ("docker run --gpus all --use-api-socket nginx", ("docker", "nginx", MISSING)),
        (
            "podman run --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm -d --replace a/b:1",
            ("podman", "a/b:1", MISSING),
        ),
        ("podman run --pull=newer --tls-verify=false a/b", ("podman", "a/b", "newer")),
        ("podman run --label io.containers.autoupdate=registry a/b", ("podman", "a/b", MISSING)),
        ("podman run --unsetenv-all --read-only --no-hosts a/b", ("podman", "a/b", MISSING)),
        ("podman --root /srv/c --log-level info run a/b", ("podman", "a/b", MISSING)),
        ("docker run $OPTIONS ${IMAGE} serve", ("docker", "quay.io/a/web:1", NEVER)),
        ("docker run $EMPTY quay.io/a/web:${TAG}", ("docker", "quay.io/a/web:3", MISSING)),
        ("docker run --name %N quay.io/a/%N", ("docker", "quay.io/a/web", MISSING)),
        ("docker run a/b:%%n", ("docker", "a/b:%n", MISSING)),
        ("docker run ${UNKNOWN}", ("docker", "", MISSING)),
        ("docker run --rm", ("docker", "", MISSING)),
        ("podman run --rm --rootfs /srv/tree /bin/init", None),
        ("docker start -a web", None),
        ("docker exec web rake run", None),
        ("docker compose run web", None),
        ("podman pod start run", None),
        ("/usr/bin/redis-server run", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_image_of_a_command(line: str, found: tuple[str, str, str] | None) -> None:
    assert parse_command(line, VARIABLES, "web") == found
