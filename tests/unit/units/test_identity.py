from containerpkg.definitions.image import HostUser
from containerpkg.definitions.service import Service
from containerpkg.units.identity import render_identity
from containerpkg.units.quadlet import UnitFile

SERVICES = {
    "shop": Service.model_validate(
        {
            "description": "Web & <shop>",
            "ports": [
                "8443:443",
                "127.0.0.1:9100:9100",
                "[::1]:9101:9101/tcp",
                "0.0.0.0:53:53/udp",
                "[2001:db8::1]:53:53/tcp",
            ],
            "mounts": [
                {
                    "source": "/srv/a b%",
                    "target": "/a",
                    "label": "private",
                    "directory": {"mode": "0750", "owner": "shop:400"},
                },
                {"source": "/srv/b", "target": "/b"},
            ],
        }
    ),
    "worker": Service.model_validate(
        {"mounts": [{"source": "/srv/c", "target": "/c", "directory": {"owner": "400"}}]}
    ),
}
USERS = {
    "shop": HostUser(uid=400, description="Web shop"),
    "feed": HostUser(uid=401, gid=450),
}


def test_all_that_a_host_needs_to_know() -> None:
    assert render_identity("shop", SERVICES, USERS, package="shop-container") == (
        UnitFile(
            path="/usr/lib/firewalld/services/shop-container.xml",
            text="""\
<?xml version="1.0" encoding="utf-8"?>
<service>
  <short>shop</short>
  <description>Web &amp; &lt;shop&gt;</description>
  <port protocol="tcp" port="53" />
  <port protocol="udp" port="53" />
  <port protocol="tcp" port="8443" />
</service>
""",
        ),
        UnitFile(
            path="/usr/lib/sysusers.d/shop.conf",
            text="""\
# shop.conf - part of the package shop-container, whose next version replaces it.
# The users of the containers by name, for those who look at files and processes on the host.
g feed 450
u feed 401:450 -
u shop 400 "Web shop"
""",
        ),
        UnitFile(
            path="/usr/lib/tmpfiles.d/shop.conf",
            text="""\
# shop.conf - part of the package shop-container, whose next version replaces it.
# Directories of the host that containers see; they stay when the package is removed.
d "/srv/a b%%" 0750 shop 400 -
d "/srv/c" 0755 400 400 -
""",
        ),
    )


def test_what_is_not_needed_is_not_there() -> None:
    services = {"shop": Service(ports=("127.0.0.1:80:80",))}
    assert render_identity("shop", services, {}, package="shop-container") == ()
