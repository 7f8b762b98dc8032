"""``containerpkg verify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from containerpkg.cli import options, tell
from containerpkg.errors import UsageError


@click.command("verify", cls=options.Command)
@click.argument(
    "places",
    nargs=-1,
    required=True,
    metavar="RPM|FOLDER...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The public key that everything must be signed with.",
)
@click.option("--no-signatures", is_flag=True, help="Check digests alone.")
@click.option(
    "--oldest",
    type=int,
    metavar="REVISION",
    help="Refuse a repository whose metadata has a lower revision.",
)
@options.as_json
def verify_command(
    places: tuple[Path, ...],
    key_file: Path | None,
    no_signatures: bool,
    oldest: int | None,
    as_json: bool,
) -> int:
    """Check packages and repositories from the signature to the bytes of each layer.

    A FOLDER with repodata is a repository: its metadata's signature and the checksums of its
    packages are checked too. Without --key the key is the RPM-GPG-KEY-* file that lies there, which
    proves that all is of one origin, and not of which.

    Exit status: 0 if the chain is whole, 7 if bytes were altered or a layer is missing, 9 if a
    signature or a checksum does not hold or a package cannot be read.

    \b
    Examples:
      containerpkg verify out/repo --key RPM-GPG-KEY-containerpkg
      containerpkg verify redis-container-7.0-1.20261124.el9.x86_64.rpm --key KEY
      containerpkg verify /mnt/stick --key KEY --oldest 1795508923
    """
    import tempfile

    from containerpkg.packages.signing import open_keyring
    from containerpkg.repository.chain import verify

    if key_file and no_signatures:
        raise UsageError("--key does not go with --no-signatures", hint="leave one of them away")
    for place in places:
        if not place.exists():
            raise UsageError(f"there is no {place}", hint="name a package, a folder, a repository")
    with tempfile.TemporaryDirectory(prefix="containerpkg-") as folder:
        keyring = None
        if not no_signatures:
            key_file = key_file or _key_beside(places)
            keyring = open_keyring(key_file.read_bytes(), Path(folder), str(key_file))
        links = verify(places, keyring, oldest=oldest)
    error = next((link.error for link in links if link.error), None)
    if as_json:
        options.print_json(
            {
                "whole": error is None,
                "key": str(key_file) if key_file else None,
                "error": error.message if error else None,
                "links": [
                    {
                        "kind": link.kind,
                        "name": link.name,
                        "result": link.result,
                        "good": not link.error,
                    }
                    for link in links
                ],
            }
        )
    else:
        options.print_table(
            ("WHAT", "NAME", "RESULT"), [(link.kind, link.name, link.result) for link in links]
        )
    if error is None:
        return 0
    sys.stdout.flush()
    tell(error)
    return error.exit_status


def _key_beside(places: tuple[Path, ...]) -> Path:
    """The one public key that lies in or beside the places."""
    folders = {place if place.is_dir() else place.absolute().parent for place in places}
    around = {folder.resolve() for one in folders for folder in (one, one.absolute().parent)}
    keys = sorted(key for folder in around for key in folder.glob("RPM-GPG-KEY-*"))
    if len(keys) != 1:
        found = f"{len(keys)} keys lie" if keys else "no key lies"
        raise UsageError(
            f"{found} beside {places[0]}, and none is named",
            hint="name the public key with --key FILE, or check digests alone with --no-signatures",
        )
    return keys[0]
