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
        "rmi", "sig-proxy", "tls-verify", "tty",
    )
)  # fmt: skip
_LETTERS = frozenset("diPqt")


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
            run = parse_command(command, _environment(keys), path.stem)
            if run:
                found.append(PlainUnit(path.stem, path, dropins, *run))
    return found


def _environment(keys: Keys) -> Dict[str, str]:
    values: Dict[str, str] = {}
    for line in keys.get(("Service", "Environment"), []):
        for word in _split(line):
            name, _, value = word.partition("=")
            values[name] = value
    return values


def _split(text: str) -> List[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def parse_command(
    command: str, environment: Dict[str, str], name: str
) -> Optional[Tuple[str, str, str]]:
    """Engine, image and pull policy of a line of ``ExecStart=``; None if it runs no container."""
    words: List[str] = []
    for word in _split(command.lstrip("-@:+!|")):
        alone = re.fullmatch(r"\$([A-Za-z_]\w*)", word)
        if alone:
            words += _split(environment.get(alone.group(1), ""))
            continue
        word = re.sub(
            r"\$\{([A-Za-z_]\w*)\}", lambda found: environment.get(found.group(1), ""), word
        )
        words.append(word.replace("%N", name).replace("%n", f"{name}.service").replace("%%", "%"))
    engine = Path(words[0]).name if words else ""
    if engine not in ("podman", "docker") or "run" not in words:
        return None
    return _operand(engine, words[words.index("run") + 1 :])


def _operand(engine: str, words: Sequence[str]) -> Tuple[str, str, str]:
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
    return engine, rest[0] if rest else "", pull
