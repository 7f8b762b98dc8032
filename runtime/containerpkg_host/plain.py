"""Reads services that start a container themselves, whoever wrote them."""

import re
import shlex
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from containerpkg_host.host import Host
from containerpkg_host.unitfiles import Keys, find_dropins, find_units, read_keys

# Options of 'podman run' and 'docker run' that take no value of their own.
_ALONE = frozenset(
    f"--{name}"
    for name in (
        "detach", "disable-content-trust", "env-host", "help", "http-proxy", "init",
        "interactive", "no-healthcheck", "no-hostname", "no-hosts", "oom-kill-disable", "passwd",
        "privileged", "publish-all", "quiet", "read-only", "read-only-tmpfs", "replace", "rm",
        "rmi", "rootfs", "sig-proxy", "tls-verify", "tty", "unsetenv-all", "use-api-socket",
    )
)  # fmt: skip
_LETTERS = frozenset("diPqt")

# The same before the verb.
_FIRST_ALONE = frozenset(
    (
        "--debug", "--help", "--noout", "--remote", "--syslog", "--tls", "--tlsverify", "--trace",
        "--transient-store", "--version", "-D", "-h", "-r", "-v",
    )
)  # fmt: skip


class PlainUnit(NamedTuple):
    """A service with a line ``podman run`` or ``docker run``."""

    name: str
    path: Path
    dropins: Tuple[Path, ...]
    engine: str
    image: str
    pull: str
    """When a registry is asked: ``missing``, ``never``, ``always`` or ``newer``."""


def load_plain(host: Host) -> List[PlainUnit]:
    """Every such service, sorted by name."""
    found = []
    for name, path in find_units(host.units, ".service").items():
        dropins = find_dropins(host.units, name)
        try:
            keys = read_keys((path, *dropins))
        except OSError:
            continue  # unreadable, as one that leads to nothing
        for command in keys.get(("Service", "ExecStart"), []):
            run = parse_command(command, _environment(host, keys), path.stem)
            if run:
                found.append(PlainUnit(path.stem, path, dropins, *run))
    return found


def _environment(host: Host, keys: Keys) -> Dict[str, str]:
    """The variables of a service; what files say counts more."""
    lines = list(keys.get(("Service", "Environment"), []))
    for name in keys.get(("Service", "EnvironmentFile"), []):
        path = host.root / name.lstrip("-").lstrip("/")
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        lines += [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    words = (word.partition("=") for line in lines for word in _split(line))
    return {name: value for name, _, value in words}


def _split(text: str) -> List[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def parse_command(
    command: str, environment: Dict[str, str], name: str
) -> Optional[Tuple[str, str, str]]:
    """Engine, image and pull policy of a line of ``ExecStart=``; None if it runs none."""
    means = {"%": "%", "N": name, "n": f"{name}.service", "p": name}
    words: List[str] = []
    for word in _split(command.lstrip("-@:+!|")):
        alone = re.fullmatch(r"\$([A-Za-z_]\w*)", word)
        if alone:
            words += _split(environment.get(alone.group(1), ""))
            continue
        word = re.sub(
            r"\$\{([A-Za-z_]\w*)\}", lambda found: environment.get(found.group(1), ""), word
        )
        words.append(re.sub("%([%Nnp])", lambda found: means[found.group(1)], word))
    engine = Path(words[0]).name if words else ""
    if engine not in ("podman", "docker"):
        return None
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        whole = "=" in option or option in _FIRST_ALONE or re.match("-[^-].", option)
        if rest and not whole:
            rest.pop(0)
    if rest[:1] == ["container"]:
        rest.pop(0)
    return _operand(engine, rest[1:]) if rest[:1] == ["run"] else None


def _operand(engine: str, words: Sequence[str]) -> Optional[Tuple[str, str, str]]:
    pull, rest = "missing", list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        name, has_value, value = option.partition("=")
        if option == "--":
            break
        takes = not has_value and name not in _ALONE
        if takes and not name.startswith("--"):
            # Letters may stand together, the last with its value: -dit, -p80:80.
            takes = not set(name[1:]) <= _LETTERS and len(name.lstrip("-diPqt")) == 1
        if takes and rest:
            value = rest.pop(0)
        if name == "--pull":
            pull = value
        if name == "--rootfs":
            return None  # a folder, and no image
    return engine, rest[0] if rest else "", pull
