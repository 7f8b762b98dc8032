"""What the unit of a container that docker runs may do itself: it only talks to docker's socket.

The client, and containerpkg-host before it, read the package's files and write into two folders.
What the container may do is docker's to decide and not touched by this, see systemd.exec(5).
Podman's units get none of it: podman mounts, makes namespaces and devices, and what is taken from
it is taken from its containers.
"""

from __future__ import annotations

from containerpkg.units.systemd import UnitText

# The first systemd that knows a setting. A copy of a secret is given to a user of the container.
_SETTINGS = (
    (187, "NoNewPrivileges=yes"),
    (187, "PrivateTmp=yes"),
    (209, "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER"),
    (209, "PrivateDevices=yes"),
    (211, "RestrictAddressFamilies=AF_UNIX"),
    (211, "SystemCallArchitectures=native"),
    (214, "ProtectHome=read-only"),
    (231, "MemoryDenyWriteExecute=yes"),
    (231, "ProtectSystem=full"),
    (231, "ReadWritePaths=-/etc/sysconfig"),
    (231, "RestrictRealtime=yes"),
    (232, "ProtectControlGroups=yes"),
    (232, "ProtectKernelModules=yes"),
    (232, "ProtectKernelTunables=yes"),
    (233, "RestrictNamespaces=yes"),
    (235, "LockPersonality=yes"),
    (239, "SystemCallFilter=@system-service"),
    (239, "SystemCallErrorNumber=EPERM"),
    (242, "ProtectHostname=yes"),
    (242, "RestrictSUIDSGID=yes"),
    (244, "ProtectKernelLogs=yes"),
    (245, "ProtectClock=yes"),
    (247, "ProcSubset=pid"),
    (247, "ProtectProc=invisible"),
)


def hardening(systemd: int) -> list[UnitText]:
    """Lines for ``[Service]`` that ``systemd`` and newer ones understand."""
    return [UnitText(line) for since, line in _SETTINGS if since <= systemd]
