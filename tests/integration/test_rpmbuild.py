"""Real packages: text stays text, two builds are equal, and rpmlint finds nothing."""

import os
import random
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from containerpkg import process
from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import Image, Layers, Project, ProjectFile
from containerpkg.errors import PackageError
from containerpkg.files import sha256_file, sha256_text
from containerpkg.packages import rpmbuild
from containerpkg.packages.image import plan_image
from containerpkg.packages.layer import plan_layer
from containerpkg.packages.plan import PackagePlan
from containerpkg.store.content import Blob, ContentStore, Layer, StoredImage, hex_of

ROOT = Path(__file__).resolve().parents[2]
JOINER = "\u2060"


@dataclass(frozen=True)
class Content:
    """A stored image, and the store it is in."""

    stored: StoredImage
    store: ContentStore

    @property
    def layers(self) -> list[Blob]:
        return [layer.blob for layer in self.stored.layers]


@pytest.fixture
def content(tmp_path: Path) -> Content:
    store = ContentStore(tmp_path / "store", Layers())
    config = store.add(b"config")
    layers = [store.add(random.Random(1).randbytes(3 << 20)), store.add(b"small layer")]
    stored = StoredImage(
        id=config.digest,
        manifest=store.add(b"manifest"),
        config=config,
        layers=tuple(Layer(blob=blob, diff_id=blob.digest, plain_size=1) for blob in layers),
        architecture="amd64",
        created="2023-11-14T22:13:20Z",
    )
    return Content(stored, store)


def plan(content: Content, root: Path, text: Mapping[str, str], **file: object) -> PackagePlan:
    about = {name: text[name] for name in ("vendor", "packager") if name in text}
    image = Image(
        name="redis",
        folder=root,
        dockerfile=Dockerfile(path=root / "Dockerfile", stages=(), uses=()),
        file=ImageFile.model_validate(
            {name: text[name] for name in ("summary", "license", "url", "description")} | file
        ),
        repository="quay.io/foreman/redis",
        version="7.0",
        parents=(),
        parent_references=(),
    )
    project = Project(
        root=root,
        file=ProjectFile.model_validate({"registry": "quay.io/foreman"} | about),
        images=(image,),
    )
    return plan_image(project, image, content.stored, content.store, stamp="1")


TEXT = {
    "summary": "An in-memory store",
    "license": "BSD-3-Clause",
    "url": "https://redis.example/",
    "description": "Keeps keys and values in memory and on disk.",
    "vendor": "ACME",
    "packager": "Ops <ops@acme.example>",
}
SERVICE = {
    "services": {
        "redis": {
            "config": [{"source": "redis.conf", "target": "/etc/redis.conf"}],
            "environment": {"TZ": "UTC"},
            "volumes": {"redis-data": "/data"},
        }
    }
}

HOSTILE = [
    "%(touch WITNESS)",
    "%{lua: io.open('WITNESS', 'w'):close()}",
    "%{!?x:%(touch WITNESS)}",
    "%{expand:%%(touch WITNESS)}",
    "%{uncompress:WITNESS} %{load:WITNESS} %{S:0} %{P:1}",
    "%[1+1] %dump %trace %{echo:x} %{error:no} %{quit:}",
    "%global release 99",
    "%define percent broken",
    "%%%%%(touch WITNESS)",
    "%install",
    "%post -p /bin/sh\ntouch WITNESS",
    "a\n%post\ntouch WITNESS",
    "a\n  %if 1\nb\n  %endif\n%else",
    "%ifarch x86_64\n%elif 1\n%ifos linux",
    "%include /etc/passwd\n%include%include /etc/passwd",
    "a\n%files\n/etc/shadow",
    "a\n%description -n other\n%package other\nSummary: x",
    "a\n%changelog\n* Mon Jan 01 2024 X <x@y> 1-1\n- x",
    "a\n%pretrans -p <lua>\n%triggerin -- bash\n%sepolicy\n%generate_buildrequires",
    "Requires: evil\nName: evil",
    "a\nRequires: evil\nBuildRequires: evil",
    "ends with a backslash \\",
    "\\%{percent \\%( \\%[ \\\\%{",
    "%{ %( %[ { ( [ } ) ]",
    "%{nil}%{percent}%percent%nil%{?percent}",
    "# a comment with %(touch WITNESS)",
    "#!RemoteAsset %{lua:",
    "a \\\nb \\\n%install \\\nc",
    "\"quoted\" 'single' `touch WITNESS` $(touch WITNESS) ${HOME} $HOME",
    "a; touch WITNESS & touch WITNESS | touch WITNESS > WITNESS",
    "Ünïcödé \U0001f600 \u202e \u00a0 %\u2060install",
    "a\t%install\n\t%install\n\t\t%if 0",
    "<lua> </lua> [[ ]] --",
    "%%install\n%%%%if\n%\n%%",
    "x" * 20_000,
    "% install\n%-install\n%_install",
    "%{warn:%{expr:1}}%{basename:/a/b}%{getenv:HOME}%{shrink: a }%{verbose:x}",
]


def random_texts() -> list[str]:
    pieces = [
        *"%{}()[]\\#\"'$!?:-*; \t~^",
        *("%%", "\n", "\n%", "\\\n", "%if", "%endif", "%else", "%install", "%post", "%files"),
        *("%{", "%(", "%[", "%define", "%global", "lua:", "nil", "percent", "touch WITNESS", "ü"),
    ]
    chooser = random.Random(20240229)
    texts = ("".join(chooser.choices(pieces, k=chooser.randint(1, 40))) for _ in range(30))
    return ["x" + text if not text.strip() else text for text in texts]


FIELDS = ("summary", "license", "url", "vendor", "packager", "description")
REST = (
    "[%{FILENAMES} %{FILEFLAGS}\n][%{PROVIDENEVRS}\n][%{REQUIRENEVRS}\n][%{TRIGGERSCRIPTS}]"
    "[%{CHANGELOGTEXT}]%{NEVRA}|%{PREIN}|%{POSTIN}|%{PREUN}|%{POSTUN}|%{PRETRANS}|%{POSTTRANS}"
)


def read_back(package: Path) -> tuple[dict[str, str], str]:
    """The texts of a package, and everything else that a text might have become."""
    tags = "\x1e".join(f"%{{{name}}}" for name in FIELDS)
    out = query(package, "--queryformat", f"{tags}\x1e{REST}")
    *texts, rest = out.split("\x1e")
    return dict(zip(FIELDS, texts, strict=True)), rest


def query(package: Path, *what: str) -> str:
    argv = ["rpm", "--query", "--package", *what, str(package)]
    return process.run(argv, env={"LC_ALL": "C.UTF-8"}).stdout


def test_no_text_of_a_definition_becomes_anything_but_text(
    tmp_path: Path, content: Content
) -> None:
    witness = tmp_path / "WITNESS"
    harmless = rpmbuild.build(plan(content, tmp_path, TEXT), tmp_path / "w", tmp_path / "out")
    _, expected = read_back(harmless)
    for text in HOSTILE + random_texts():
        text = text.replace("WITNESS", str(witness)).strip()
        line = " ".join(text.split())
        hostile = dict.fromkeys(TEXT, line) | {"description": text}
        package = rpmbuild.build(plan(content, tmp_path, hostile), tmp_path / "w", tmp_path / "out")
        back, rest = read_back(package)
        described = back.pop("description")
        assert back == dict.fromkeys(back, line) | {"url": line.replace(" ", "%20")}, text
        # A description is wrapped, and a percent sign or hash at the start of a line stands behind
        # a character without width; nothing else is different.
        assert described.replace(JOINER, "").split() == text.replace(JOINER, "").split(), text
        assert not [
            line for line in described.split("\n") if line.lstrip(" \t").startswith(("%", "#"))
        ], text
        assert rest == expected, text
        assert not witness.exists(), text


def test_equal_bytes_whoever_builds_and_where(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis.conf").write_text("port 6379\n")
    plans = [plan(content, tmp_path, TEXT, **SERVICE), plan_layer(content.store, content.layers[0])]
    first = [rpmbuild.build(p, tmp_path / "a", tmp_path / "out-a") for p in plans]

    home = tmp_path / "home"
    home.mkdir()
    (home / ".rpmmacros").write_text(
        "%packager Somebody\n%vendor Else\n%_buildhost elsewhere\n%dist .mine\n"
        "%_binary_payload w9.gzdio\n%_topdir /nowhere\n%percent broken\n"
    )
    (home / ".rpmrc").write_text("optflags: x86_64 -O9\n")
    for name, value in {
        "HOME": str(home),
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Pacific/Chatham",
        "USER": "someone",
        "HOSTNAME": "elsewhere",
        "SOURCE_DATE_EPOCH": "5",
    }.items():
        monkeypatch.setenv(name, value)
    for blob in content.stored.blobs:
        path = content.store.blob_path(blob.digest)
        os.utime(path, (2_000_000_000, 2_000_000_000))
        path.chmod(0o644)
    before = os.umask(0o077)
    try:
        odd = tmp_path / "an odd % {place} it's" / "b"
        second = [rpmbuild.build(p, odd, tmp_path / "out-b") for p in plans]
    finally:
        os.umask(before)
    assert [sha256_file(path) for path in first] == [sha256_file(path) for path in second]
    assert [path.name for path in second] == [p.nevra.filename for p in plans]
    assert [path.stat().st_mode & 0o777 for path in second] == [0o644, 0o644]
    tags = "%{BUILDTIME} %{BUILDHOST} %{VENDOR} %{PACKAGER} %{PAYLOADCOMPRESSOR} %{PLATFORM}"
    assert query(second[0], "--queryformat", tags) == (
        "1700000000 localhost ACME Ops <ops@acme.example> (none) x86_64-linux"
    )
    assert query(second[1], "--queryformat", tags) == (
        "946684800 localhost (none) (none) (none) noarch-linux"
    )


def test_what_a_package_holds(tmp_path: Path, content: Content) -> None:
    (tmp_path / "redis.conf").write_text("port 6379\n")
    image = rpmbuild.build(
        plan(content, tmp_path, TEXT, **SERVICE), tmp_path / "w", tmp_path / "out"
    )
    layer = rpmbuild.build(
        plan_layer(content.store, content.layers[0]), tmp_path / "w", tmp_path / "out"
    )
    form = (
        "[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEFLAGS:fflags} %{FILENAMES}\n]"
    )
    big, small = (hex_of(blob.digest) for blob in content.layers)
    assert query(layer, "--queryformat", form) == (
        "drwxr-xr-x root:root  /usr/share/containerpkg\n"
        "drwxr-xr-x root:root  /usr/share/containerpkg/blobs\n"
        "drwxr-xr-x root:root  /usr/share/containerpkg/blobs/sha256\n"
        f"-rw-r--r-- root:root  /usr/share/containerpkg/blobs/sha256/{big}\n"
    )
    listed = query(image, "--queryformat", form).splitlines()
    assert "-rw-r--r-- root:root cn /etc/redis/redis.conf" in listed
    assert "-rw-r----- root:root cn /etc/sysconfig/redis" in listed
    assert "lrwxrwxrwx root:root  /usr/share/containerpkg/images/redis/blobs" in listed
    assert f"-rw-r--r-- root:root  /usr/share/containerpkg/blobs/sha256/{small}" in listed
    # What another package may own as well has the same time in both.
    times = query(image, "--queryformat", "[%{FILEMTIMES} %{FILENAMES}\n]").splitlines()
    assert f"946684800 /usr/share/containerpkg/blobs/sha256/{small}" in times
    assert "946684800 /usr/share/containerpkg/images" in times
    assert "1700000000 /usr/share/containerpkg/images/redis/index.json" in times
    digests = query(image, "--queryformat", "[%{FILENAMES} %{FILEDIGESTS}\n]").splitlines()
    configured = sha256_text("port 6379\n")
    assert f"/etc/redis/redis.conf {configured}" in digests
    assert "rpmlib(ShortCircuited)" not in query(image, "--requires")
    process.run(["rpm", "--checksig", "--nosignature", str(image), str(layer)])


def test_a_spec_that_rpmbuild_refuses_leaves_nothing(tmp_path: Path, content: Content) -> None:
    template = tmp_path / "spec-templates" / "image.spec.j2"
    template.parent.mkdir()
    template.write_text("Name: {{ nevra.name }}\n%description\n")
    with pytest.raises(PackageError, match=r"redis-container-7\.0-1\.1\.el9\.x86_64:\n"):
        rpmbuild.build(plan(content, tmp_path, TEXT), tmp_path / "w", tmp_path / "out")
    assert list((tmp_path / "w").iterdir()) == []


def test_rpmlint_finds_nothing_that_has_no_reason(tmp_path: Path, content: Content) -> None:
    (tmp_path / "redis.conf").write_text("port 6379\n")
    out = tmp_path / "out"
    # As most projects are: nobody named a packager.
    text = {name: value for name, value in TEXT.items() if name != "packager"}
    for made in (
        plan(content, tmp_path, text, **SERVICE),
        plan_layer(content.store, content.layers[0]),
    ):
        rpmbuild.build(made, tmp_path / "w", out)
    beside = Path(sys.executable).parent / "rpmlint"
    rpmlint = str(beside) if beside.exists() else shutil.which("rpmlint") or "rpmlint"
    filters = ROOT / "spec-templates" / "rpmlint.toml"
    report = process.run([rpmlint, "--config", str(filters), str(out)]).stdout
    assert "2 packages and 0 specfiles checked; 0 errors, 0 warnings" in report
