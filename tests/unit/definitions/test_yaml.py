# ruff: noqa: E501, ISC004 - the tables hold whole messages
from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import Layers, ProjectFile, Repository, Secret
from containerpkg.definitions.yaml import load_located, load_model, parse_located
from containerpkg.errors import DefinitionError

PATH = Path("image.yaml")
HEAD = "summary: An image\nlicense: MIT\n"


def problems(text: str, model: type[ImageFile] | type[ProjectFile] = ImageFile) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        parse_located(text, PATH, model)
    return [
        f"{problem}" + (f" ({problem.hint})" if problem.hint else "")
        for problem in caught.value.problems
    ]


def test_a_whole_file_becomes_a_model(tmp_path: Path) -> None:
    path = tmp_path / "containerpkg.yaml"
    path.write_text(
        """\
# scalars are those of YAML 1.2
registry: quay.io/example
vendor: &who "Example"
packager: *who
version: 3.19.0~nightly
release: 0x10
url: !!str https://example.com
build:
  secrets: {token: {env: TOKEN}, no: {file: on}}
  proxy: False
layers: {level: 19}
repository: {name: 'a: b'}
"""
    )
    found = load_model(path, ProjectFile)
    assert found == ProjectFile(
        registry="quay.io/example",
        vendor="Example",
        packager="Example",
        version="3.19.0~nightly",
        release=16,
        url="https://example.com",
        build=found.build,
        layers=Layers(level=19),
        repository=Repository(name="a: b"),
    )
    assert found.build.secrets == {"token": Secret(env="TOKEN"), "no": Secret(file="on")}
    assert found.build.proxy is False


def test_a_variable_may_be_empty(tmp_path: Path) -> None:
    project, image = tmp_path / "containerpkg.yaml", tmp_path / "image.yaml"
    project.write_text('registry: quay.io/x\nvendor: x\nbuild: {args: {A: ""}}\n')
    image.write_text(
        'summary: x\nlicense: x\nbuild: {args: {A: ""}}\n'
        "services: {x: {environment: {A: '', B: ' '}}}\n"
    )
    assert load_model(project, ProjectFile).build.args == {"A": ""}
    found = load_model(image, ImageFile)
    assert found.build.args == {"A": ""}
    assert found.services["x"].environment == {"A": "", "B": ""}


def test_lines_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "image.yaml"
    path.write_text(f"{HEAD}services:\n  a:\n    ports:\n      - 80:80\n      - 81:81\n")
    found = load_located(path, ImageFile)
    assert found.model.services["a"].ports == ("80:80", "81:81")
    keys = ("services", "a", "ports", 1)
    assert str(found.problem(keys, "is taken")) == f"{path}:7: services.a.ports[1]: is taken"
    missing = ("services", "a", "user")
    assert str(found.problem(missing, "is odd")) == f"{path}:4: services.a.user: is odd"
    assert str(found.problem((), "is odd")) == f"{path}: is odd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["image.yaml: is empty (it needs at least: summary, license)"]),
        ("# nothing\n", ["image.yaml: is empty (it needs at least: summary, license)"]),
        ("- a\n", ["image.yaml:1: must be a mapping of keys to values, not a list "
                   "(write one 'key: value' a line)"]),
        ("\ntext\n", ["image.yaml:2: must be a mapping of keys to values, not a single value "
                      "(write one 'key: value' a line)"]),
        ("summary: x\n", ["image.yaml: license: is missing (add 'license: …')"]),
        (HEAD + "sevices: {}\n", ["image.yaml:3: sevices: is not a known key (did you mean 'services'?)"]),
        (HEAD + "build:\n  xyz: 1\n",
         ["image.yaml:4: build.xyz: is not a known key (known here: args, network, secrets)"]),
        (HEAD + "services:\n  a:\n    health: {comand: x}\n",
         ["image.yaml:5: services.a.health.comand: is not a known key (did you mean 'command'?)",
          "image.yaml:5: services.a.health.command: is missing (add 'command: …')"]),
        (HEAD + "services:\n  a:\n    config:\n      - sorce: x\n        target: /y\n",
         ["image.yaml:6: services.a.config[0].sorce: is not a known key (did you mean 'source'?)",
          "image.yaml:6: services.a.config[0].source: is missing (add 'source: …')"]),
        (HEAD + "version: 7.20\n",
         ['image.yaml:3: version: must be text, not the number 7.20 (put it in quotes: version: "7.20")']),
        (HEAD + "services: {a: {config: [{source: a, target: /a, mode: 0644}]}}\n",
         ["image.yaml:3: services.a.config[0].mode: must be text, not the number 0644 "
          '(put it in quotes: mode: "0644")']),
        (HEAD + "services: {a: {command: [sleep, 5]}}\n",
         ['image.yaml:3: services.a.command[1]: must be text, not the number 5 (put it in quotes: - "5")']),
        (HEAD + "services: {a: {environment: {X: true}}}\n",
         ['image.yaml:3: services.a.environment.X: must be text, not true (put it in quotes: X: "true")']),
        ("summary:\nlicense: [MIT]\n",
         ["image.yaml:1: summary: must be text, not empty", "image.yaml:2: license: must be text, not a list"]),
        ('summary: "a\\nb"\nlicense: "  "\n',
         ["image.yaml:1: summary: must be one line without control characters",
          "image.yaml:2: license: must not be empty"]),
        (HEAD + "packaged: yes\nservices: []\n",
         ["image.yaml:3: packaged: must be true or false, not 'yes'",
          "image.yaml:4: services: must be a mapping of keys to values, not a list"]),
        (HEAD + "services: {a: {command: redis}}\n",
         ["image.yaml:3: services.a.command: must be a list, not 'redis' "
          "(write each item on a line of its own: '- …')"]),
        (HEAD + "services:\n  A b: {}\n  a:\n",
         ["image.yaml:4: services.A b: has a name that must be lower-case letters and digits "
          "with single . _ or - between them, not 'A b'",
          "image.yaml:5: services.a: must be a mapping of keys to values, not empty"]),
        (HEAD + "services: {a: {restart: alway, ports: ['80', '1:70000']}}\n",
         ["image.yaml:3: services.a.ports[0]: must be [ADDRESS:]HOSTPORT:CONTAINERPORT[/PROTOCOL], not '80'",
          "image.yaml:3: services.a.restart: must be 'no', 'on-failure' or 'always', not 'alway' "
          "(did you mean 'always'?)"]),
        (HEAD + "services: {a: {ports: ['1:70000'], volumes: {v: x}, capabilities: [CAP_CHOWN]}}\n",
         ["image.yaml:3: services.a.capabilities[0]: must be written without CAP_",
          "image.yaml:3: services.a.ports: '1:70000' has a port outside 1-65535",
          "image.yaml:3: services.a.volumes.v: must be an absolute path"]),
        (HEAD + "services: {a: {health: {command: x, retries: 0, interval: 5 parsecs}}}\n",
         ["image.yaml:3: services.a.health.interval: 'parsecs' is not a unit of time (use s, min or h)",
          "image.yaml:3: services.a.health.retries: must be at least 1, not 0"]),
        (HEAD + "services:\n  a: {schedule: daily}\n  b: {type: oneshot, health: {command: x}}\n"
         "  c: {type: oneshot, restart: always}\n"
         "  d: {type: oneshot, schedule: daily, wanted_by: [a.target]}\n  e: {schedule: '%n'}\n"
         "  f: {type: oneshot, schedule: daily, wanted_by: [], restart: 'no'}\n",
         ["image.yaml:4: services.a: 'schedule' needs 'type: oneshot'",
          "image.yaml:5: services.b: 'health' does not go with 'type: oneshot', whose end tells how it is",
          "image.yaml:6: services.c: 'restart: always' does not go with 'type: oneshot'",
          "image.yaml:7: services.d: 'wanted_by' does not go with 'schedule', whose timer starts it",
          "image.yaml:8: services.e.schedule: must be a calendar event as systemd.time(7) has it, "
          "like daily or Mon..Fri 02:30, not '%n'"]),
        (HEAD + "services: {a: {mounts: [{source: /var/lib/, target: /x, label: private}]}}\n"
         "users:\n  x: {uid: 0}\n  y: {uid: 5, description: 'a:b'}\n  Z: {uid: 5}\n",
         ["image.yaml:3: services.a.mounts[0].label: /var/lib belongs to the system and must keep its labels",
          "image.yaml:5: users.x.uid: must be at least 1, not 0",
          "image.yaml:6: users.y.description: must be letters, digits, blanks and . , ( ) / + - only, "
          "not 'a:b'",
          "image.yaml:7: users.Z: has a name that must be lower-case letters, digits, _ and - "
          "and must not begin with a digit or -, not 'Z'"]),
        (HEAD + "version: 1-2\npackage: '%{x}'\nprepare: ../x\n",
         ["image.yaml:3: version: must be an RPM version (letters, digits and . _ + ~ ^), not '1-2'",
          "image.yaml:4: package: must be a package name (letters, digits and . _ + -), not '%{x}'",
          "image.yaml:5: prepare: must be a path inside the image's folder"]),
        (HEAD + f"version: {'1' * 65}a\n", ["image.yaml:3: version: must have at most 64 characters"]),
        (HEAD + "summary: again\nversion: 1\n",
         ["image.yaml:3: summary: is given twice, first in line 1",
          'image.yaml:4: version: must be text, not the number 1 (put it in quotes: version: "1")']),
        (HEAD + "? [a]\n: b\n", ["image.yaml:3: has a key that is not text"]),
        (HEAD + "url: !python/name:os.system x\n",
         ["image.yaml:3: url: has the tag !python/name:os.system, which has no meaning here"]),
        (HEAD + "packaged: !!int x\n",
         ["image.yaml:3: packaged: is not what its tag tag:yaml.org,2002:int says",
          "image.yaml:3: packaged: must be true or false, not 'x'"]),
        (HEAD + "build: &b\n  args: *b\n",
         ["image.yaml:3: is nested too deeply or repeats an alias too often"]),
        ("a: b: c\n", ["image.yaml:1: is not valid YAML: mapping values are not allowed in this context "
                       "(quote text that has ': ' in it)"]),
        ("a:\n\t- b\n", ["image.yaml:2: is not valid YAML: found character that cannot start any token "
                          "(indent with spaces, and quote text that starts with a special character)"]),
        ("a: [b\nc: d\n", ["image.yaml:2: is not valid YAML: did not find expected ',' or ']'"]),
        ("a: *b\n", ["image.yaml:1: is not valid YAML: found undefined alias"]),
        ("a: b\n---\na: b\n",
         ["image.yaml:2: is not valid YAML: there is more than one document (remove the line '---')"]),
        ("é: b\na: \x07\n", ["image.yaml:2: is not valid YAML: control characters are not allowed"]),
    ],
)  # fmt: skip
def test_every_mistake_is_a_sentence_with_line_and_key(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_mistakes_in_a_project_file() -> None:
    text = """\
registry: Quay.io
vendor: Example
build:
  args: {1x: y}
  secrets: {a: {}}
layers: {level: 0.5, compression: gz}
target: el99
release: -1
"""
    assert problems(text, ProjectFile) == [
        "image.yaml:1: registry: must be a registry host and a lower-case path below it, "
        "like quay.io/foreman, not 'Quay.io'",
        "image.yaml:4: build.args.1x: has a name that must be letters, digits and _ "
        "and must not begin with a digit, not '1x'",
        "image.yaml:5: build.secrets.a: must have either 'file' or 'env'",
        "image.yaml:6: layers.compression: must be 'zstd' or 'gzip', not 'gz' "
        "(did you mean 'gzip'?)",
        "image.yaml:6: layers.level: must be a whole number, not the number 0.5",
        "image.yaml:7: target: must be 'el7', 'el8', 'el8-podman', 'el8-docker', 'el9', "
        "'el9-podman', 'el9-docker', 'el10', 'el10-podman', 'el10-docker', 'fedora', "
        "'fedora-podman' or 'fedora-docker', not 'el99' "
        "(did you mean 'el9'?)",
        "image.yaml:8: release: must be at least 0, not -1",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"summary: a\nlicense: caf\xe9\n")
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    expected = {
        latin: f"{latin}:2: is not UTF-8 text",
        folder: f"{folder}: cannot be read: is a directory",
        tmp_path / "no.yaml": f"{tmp_path / 'no.yaml'}: does not exist",
    }
    found = {}
    for path in expected:
        with pytest.raises(DefinitionError) as caught:
            load_model(path, ImageFile)
        found[path] = caught.value.message
    assert found == expected
