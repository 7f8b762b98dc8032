"""The images that packages have installed: OCI image layouts, or one docker-archive each."""

import json
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from containerpkg_host.errors import HostProblem, WrongUsage
from containerpkg_host.host import Host


class Layer(NamedTuple):
    """A layer as it is kept, its bytes unpacked, and the package that brings it.

    In an archive a layer is kept as it unpacks.
    """

    digest: str
    size: int
    diff_id: str
    plain_size: int
    package: str


class Layout(NamedTuple):
    """What the image.json of an installed image says."""

    name: str
    package: str
    version: str
    reference: str
    """``REPOSITORY:TAG``"""

    digest: str
    """Of the manifest."""

    id: str
    """The image ID, which is the digest of the image's configuration."""

    layers: Tuple[Layer, ...]
    services: Tuple[str, ...]
    units: str
    """``quadlet``, ``podman`` or ``docker``"""

    runs: str
    """What the units run the image by."""

    volumes: Tuple[str, ...]
    """The names of those that the services keep data in."""

    archive: str
    """The file that has all of the image, in place of a layout; else empty."""

    neighbours: Tuple[str, ...]
    """What units of other deployments call the image, which they have tagged."""

    @property
    def engine(self) -> str:
        """The engine that the units use."""
        return "docker" if self.units == "docker" else "podman"

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return self.reference.rpartition(":")[0]

    @property
    def pinned(self) -> str:
        """``REPOSITORY@DIGEST``, which only this content has."""
        return f"{self.repository}@{self.digest}"

    @property
    def kept(self) -> str:
        """``REPOSITORY:sha256-HEX``: a name that no other content takes away."""
        return kept_name(self.repository, self.digest)


def kept_name(repository: str, digest: str) -> str:
    """The tag that an image has as long as it is in an engine."""
    return f"{repository}:{digest.replace(':', '-')}"


def parse_layout(text: str) -> Layout:
    """The content of an image.json; raises ValueError, KeyError or TypeError for anything else."""
    about = json.loads(text)
    return Layout(
        name=about["name"],
        package=about["package"],
        version=about["version"],
        reference=about["reference"],
        digest=about["manifest"],
        id=about["id"],
        layers=tuple(Layer(**layer) for layer in about["layers"]),
        services=tuple(about["services"]),
        units=about["units"],
        runs=about["runs"],
        volumes=tuple(about.get("volumes", ())),
        archive=about.get("archive", ""),
        neighbours=tuple(x["reference"] for x in about.get("neighbours", ())),
    )


def load_layout(path: Path) -> Layout:
    """The image.json at ``path``; raises :class:`HostProblem` if it cannot be understood."""
    try:
        return parse_layout(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostProblem(
            f"{path} cannot be read ({error}); 'rpm -qf {path}' names its package, and "
            f"'dnf reinstall' of that package brings it back"
        ) from error


def find_layouts(host: Host) -> List[Path]:
    """The image.json of every installed image, sorted."""
    return sorted(host.images.glob("*/image.json"))


def load_layouts(host: Host) -> Tuple[Dict[str, Layout], List[HostProblem]]:
    """Every installed image by name, and what is wrong with those that cannot be read."""
    layouts, problems = {}, []
    for path in find_layouts(host):
        try:
            layouts[path.parent.name] = load_layout(path)
        except HostProblem as problem:
            problems.append(problem)
    return layouts, problems


def find_layout(host: Host, name: str) -> Layout:
    """The installed image ``name``; raises :class:`WrongUsage` if there is none."""
    path = host.images / name / "image.json"
    if "/" in name or not path.exists():
        known = ", ".join(p.parent.name for p in find_layouts(host))
        raise WrongUsage(f"no package has installed an image '{name}'; installed: {known or '-'}")
    return load_layout(path)
