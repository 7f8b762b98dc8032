"""Signs packages and metadata with a GnuPG key, and checks what others signed.

A passphrase never enters a command line or a file: it lies in memory behind a descriptor of this
process, and gpg reads it from there by its name below /proc.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from containerpkg import process
from containerpkg.definitions.project import Signing
from containerpkg.errors import NO_SPACE, ContainerpkgError, HostError, PackageError
from containerpkg.files import write_atomic
from containerpkg.packages import rpmbuild
from containerpkg.packages.openpgp import parse_issuers, parse_public_keys
from containerpkg.packages.rpmfile import load_headers
from containerpkg.process import CommandFailed, Run, missing_tool

PASSPHRASE = "CONTAINERPKG_SIGNING_PASSPHRASE"  # noqa: S105 - the name of a variable
"""The environment variable that holds the passphrase of the key."""

_RPM = Path("/usr/lib/rpm")

# Of what OpenPGP has, what rpm reads from its first day on.
_RSA_AND_DSA = frozenset({"1", "17"})

# A user's gpg.conf may say SHA-1, which EL 9 refuses.
_OPTIONS = ("--batch", "--no-tty", "--digest-algo=SHA256")


class SigningError(PackageError):
    """Something cannot be signed."""


class SignatureError(ContainerpkgError):
    """Something is not signed as it has to be; the message is a part of a sentence."""

    exit_status = PackageError.exit_status


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A secret key that can be used; see :func:`opened`."""

    fingerprint: str
    """Of the primary key, 40 (or 64) upper-case hexadecimal digits."""

    key_ids: frozenset[str]
    """Of the primary key and its subkeys that are not revoked, 16 digits each."""

    modern: bool
    """Whether one of these that signs is neither RSA nor DSA."""

    gpg: str
    """The program's path."""

    options: tuple[str, ...] = field(repr=False)
    """How gpg gets at the passphrase."""

    env: Mapping[str, str]
    run: Run = field(default=process.run, repr=False)

    def prove(self) -> None:
        """Sign something of no importance, so that a key that cannot sign is found out early.

        Raises :class:`SigningError`, and :class:`ToolError` if rpmsign is missing.
        """
        if shutil.which("rpmsign") is None:
            raise missing_tool("rpmsign")
        with tempfile.TemporaryDirectory(prefix="containerpkg-") as folder:
            (Path(folder) / "proof").write_bytes(b"")
            self.sign_file(Path(folder) / "proof")

    def sign_package(self, package: Path) -> None:
        """Put a signature into the package, in place of any that it has.

        Before rpm 6 ``--addsign`` was the same; since then it leaves a foreign signature where it
        is. rpm changes the file as it stands, so nobody else may use it meanwhile.
        Raises :class:`SigningError`.
        """
        argv = [
            "rpmsign",
            *(f"--macros={file}" for file in (_RPM / "macros",) if file.exists()),
            *(f"--rcfile={file}" for file in (_RPM / "rpmrc",) if file.exists()),
            "--resign",
            "--define=_openpgp_sign gpg",
            f"--define=__gpg {self.gpg}",
            f"--define=_gpg_name {self.fingerprint}",
            f"--define=_gpg_sign_cmd_extra_args {' '.join(self.options)}",
            package.name,
        ]
        try:
            self.run(argv, env=self.env, cwd=package.parent)
        except CommandFailed as error:
            if shutil.disk_usage(package.parent).free < package.stat().st_size:
                raise _full(package.name) from error
            raise self._failed(f"the package {package.name}", error) from error

    def sign_file(self, path: Path, *, at: int | None = None) -> Path:
        """Write the armoured, detached signature of ``path`` to ``path.asc`` and return that.

        ``at``, in seconds since 1970, is the time that the signature has; the same file, key and
        time give the same bytes with RSA and EdDSA keys. Raises :class:`SigningError`.
        """
        signature = path.with_name(f"{path.name}.asc")
        clock = [] if at is None else [f"--faked-system-time={_iso(at)}!"]
        argv = [self.gpg, *self.options, *clock, f"--local-user={self.fingerprint}", "--yes"]
        argv += ["--armor", f"--output={signature.absolute()}", "--detach-sign"]
        try:
            self.run([*argv, str(path.absolute())], env=self.env)
        except CommandFailed as error:
            raise self._failed(str(path.name), error) from error
        return signature

    def public_key(self) -> str:
        """The armoured public key."""
        argv = [self.gpg, "--batch", "--armor", "--export-options=export-minimal", "--export"]
        return self.run([*argv, self.fingerprint], env=self.env).stdout

    def made(self, package: Path) -> bool:
        """Whether the package says that this key signed it; :meth:`Keyring.check` proves it.

        Raises :class:`PackageError` for a file that is not a package.
        """
        try:
            return bool(self.key_ids & parse_issuers(load_headers(package).signatures))
        except ValueError:
            return False  # a damaged signature: it gets a new one

    def keyring(self, folder: Path) -> Keyring:
        """This key alone, to check signatures with; its file is put into ``folder``."""
        return open_keyring(self.public_key().encode(), folder, "the signing key", run=self.run)

    def _failed(self, what: str, error: CommandFailed) -> SigningError:
        locked = ("passphrase", "pinentry", "Inappropriate ioctl", "Operation cancelled")
        if any(word in error.tail for word in locked):
            hint = f"set signing: passphrase_file, or {PASSPHRASE}, or unlock the key in gpg-agent"
        else:
            hint = f"try the key by hand: gpg --local-user {self.fingerprint} --clear-sign FILE"
        return SigningError(
            f"the key {self.fingerprint} could not sign {what}:\n{error.tail}", hint=hint
        )


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """Public keys that signatures are checked against; see :func:`open_keyring`."""

    file: Path
    run: Run = field(default=process.run, repr=False)

    def check(self, signatures: bytes, data: bytes, *, lasting: bool = False) -> str:
        """The fingerprint of the primary key whose signature of ``data`` this is.

        ``signatures`` are OpenPGP packets, armoured or not, all of which have to be good. A key
        that has expired since is good enough where the signature is ``lasting``: rpm takes a
        package that was signed in time, dnf no metadata.
        Raises :class:`SignatureError` for one that is missing, wrong, or of another key.
        """
        if not signatures:
            raise SignatureError("is not signed")

        def feed(pipe: IO[bytes]) -> None:
            pipe.write(data)

        with tempfile.NamedTemporaryFile(prefix="containerpkg-") as file:
            file.write(signatures)
            file.flush()
            argv = ["gpgv", "--status-fd=1", f"--keyring={self.file}", file.name, "-"]
            try:
                result = self.run(argv, env={"LC_ALL": "C.UTF-8"}, stdin=feed)
            except CommandFailed as error:
                raise SignatureError(_reason(signatures, error.tail)) from error
        return _maker(result.stdout, lasting=lasting)


def _maker(status: str, *, lasting: bool) -> str:
    """Who made the signatures that gpgv calls good, which it does after the end of a key too.

    See doc/DETAILS of GnuPG.
    """
    maker, expired, problem = "", 0, ""
    for line in status.splitlines():
        match line.split():
            case ["[GNUPG:]", "REVKEYSIG", *_]:
                raise SignatureError("is signed by a key that is revoked")
            case ["[GNUPG:]", "KEYEXPIRED", seconds, *_]:
                expired = int(seconds)
            case ["[GNUPG:]", "EXPKEYSIG", *_]:
                day = datetime.fromtimestamp(expired, UTC).date()
                problem = f"is signed by a key that expired on {day}"
            case ["[GNUPG:]", "VALIDSIG", _, _, made, *_, primary]:
                if problem and not (lasting and int(made) <= expired):
                    raise SignatureError(problem)
                maker, problem = maker or primary, ""
    if not maker:
        raise SignatureError("has no signature that gpgv understands")
    return maker


@contextmanager
def opened(
    signing: Signing,
    root: Path,
    environment: Mapping[str, str] = os.environ,
    *,
    run: Run = process.run,
) -> Iterator[Signer]:
    """The signer that ``signing`` in the project ``root`` names, for the block.

    Raises :class:`SigningError` for a key that is not there, and OSError for a passphrase file
    that cannot be read.
    """
    gpg = shutil.which("gpg") or shutil.which("gpg2")
    if gpg is None:
        raise missing_tool("gpg")
    env = {"LC_ALL": "C.UTF-8"}
    if signing.home:
        env["GNUPGHOME"] = str((root / signing.home).absolute())
    signer = _find_key(signing, gpg, env, run)
    passphrase = environment.get(PASSPHRASE)
    if signing.passphrase_file:
        text = (root / signing.passphrase_file).read_text()
        passphrase = text.partition("\n")[0].removesuffix("\r")
    if passphrase is None:
        yield signer
        return
    memory = os.memfd_create("passphrase")
    with os.fdopen(memory, "wb") as file:
        file.write(passphrase.encode() + b"\n")
        file.flush()
        place = f"/proc/{os.getpid()}/fd/{memory}"
        options = (*_OPTIONS, "--pinentry-mode=loopback", f"--passphrase-file={place}")
        yield replace(signer, options=options)


def sign_again(signer: Signer, folder: Path, work: Path) -> Iterator[str]:
    """Sign every package in ``folder`` that ``signer`` did not sign; the file name of each.

    Copies are signed in ``work``, which needs room for all of them, and put in place one after the
    other when the last one is signed: until then, ``folder`` is what its metadata says.
    Raises :class:`SigningError`, and :class:`PackageError` for what is not a package.
    """
    with tempfile.TemporaryDirectory(prefix="sign-", dir=work) as room:
        copies = []
        for name in unsigned(signer, folder):
            copies.append(Path(room) / name)
            _sign_copy(signer, folder / name, copies[-1])
            yield name
        for copy in copies:
            rpmbuild.publish(copy, folder)


def _sign_copy(signer: Signer, package: Path, copy: Path) -> None:
    before = package.stat()
    try:
        shutil.copyfile(package, copy)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _full(package.name) from error
    signer.sign_package(copy)
    # A signature fits into the room that rpm left for it: the size stays. Whoever compares
    # sizes and times, as we do for the metadata, must see another time.
    later = max(int(time.time()), int(before.st_mtime) + 1)
    os.utime(copy, (later, later))


def _full(name: str) -> HostError:
    return HostError(f"no space left on the disk to sign the package {name}", hint=NO_SPACE)


def unsigned(signer: Signer, folder: Path) -> tuple[str, ...]:
    """The file names of packages in ``folder`` that ``signer`` did not sign, sorted.

    Raises :class:`PackageError` for what is not a package.
    """
    return tuple(path.name for path in sorted(folder.glob("*.rpm")) if not signer.made(path))


def open_keyring(content: bytes, folder: Path, what: str, *, run: Run = process.run) -> Keyring:
    """The public keys in ``content``, called ``what`` in errors; a file is put into ``folder``.

    Raises :class:`SigningError` if there is none.
    """
    try:
        keys = parse_public_keys(content)
    except ValueError as error:
        raise SigningError(
            f"{what} is not a file of public keys: {error}",
            hint="export one: gpg --armor --export KEY > FILE",
        ) from error
    file = folder.absolute() / "keys.pgp"
    write_atomic(file, keys)
    return Keyring(file=file, run=run)


def _find_key(signing: Signing, gpg: str, env: Mapping[str, str], run: Run) -> Signer:
    """The signer without a passphrase."""
    home = env.get("GNUPGHOME")
    where = f" in {home}" if home else ""
    seek = "list what is there: gpg"
    seek += f" --homedir {shlex.quote(home)}" if home else ""
    seek += " --list-secret-keys"
    argv = [gpg, "--batch", "--with-colons", "--fixed-list-mode", "--list-secret-keys"]
    try:
        listing = run([*argv, "--", signing.key], env=env).stdout
    except CommandFailed as error:
        raise SigningError(
            f"GnuPG has no secret key '{signing.key}'{where}: {error.tail}", hint=seek
        ) from error
    rows = [line.split(":") for line in listing.splitlines()]
    primary = [row for row in rows if row[0] == "sec"]
    fingerprints = [row[9] for row in rows if row[0] == "fpr"]
    if len(primary) != 1:
        raise SigningError(
            f"GnuPG has {len(primary)} secret keys '{signing.key}'{where}",
            hint=f"name one by its fingerprint; {seek}",
        )
    state = {"e": "has expired", "r": "is revoked", "d": "is disabled"}.get(primary[0][1])
    if state:
        raise SigningError(f"the key '{signing.key}'{where} {state}", hint=seek)
    # What a revoked subkey signed, rpm refuses: it gets a new signature.
    usable = [row for row in rows if row[0] in {"sec", "ssb"} and row[1] != "r"]
    return Signer(
        fingerprint=fingerprints[0],
        key_ids=frozenset(row[4] for row in usable),
        modern=any(row[3] not in _RSA_AND_DSA for row in usable if "s" in row[11]),
        gpg=gpg,
        options=_OPTIONS,
        env=env,
        run=run,
    )


def _reason(signatures: bytes, tail: str) -> str:
    if "No public key" in tail:
        makers = ", ".join(sorted(parse_issuers(signatures)))
        return f"is signed by another key{f' ({makers})' if makers else ''}"
    if "BAD signature" in tail:
        return "is not what was signed: the signature is of other bytes"
    last = tail.strip().rpartition("\n")[2]
    return f"has a signature that is not good: {last.removeprefix('gpgv: ')}"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
