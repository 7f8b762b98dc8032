from pathlib import Path

from containerpkg.definitions.load import load_project
from containerpkg.errors import Problem
from containerpkg.release.unitcheck import find_unit_problems

SERVICE = "summary: A service\nlicense: MIT\nservices: {app: {command: ['%s']}}\n"


def test_a_machine_without_quadlet_finds_what_it_can_and_says_so(make_project) -> None:
    root = make_project(
        {
            "images/app/Dockerfile": "FROM scratch\n",
            "images/app/image.yaml": SERVICE % "run",
            "images/bad/Dockerfile": "FROM scratch\n",
            "images/bad/image.yaml": (SERVICE % ";").replace("app:", "bad:"),
        }
    )
    project = load_project(root)
    bad, unchecked = (
        Problem(
            path=Path("images/bad/image.yaml"),
            message="service 'bad': ';' would end the command, so no unit file can carry it",
            hint="change it in image.yaml",
        ),
        Problem(
            path=Path("containerpkg.yaml"),
            message="units were not checked: there is no podman with Quadlet here",
            severity="note",
        ),
    )
    assert find_unit_problems(project, project.images, generators=[]) == (bad, unchecked)
    # What a target leaves out is said, and is no error.
    neighbours = (root / "images/app/image.yaml").read_text() + "neighbours: {shop: {}}\n"
    (root / "images/app/image.yaml").write_text(neighbours)
    (root / "containerpkg.yaml").write_text(
        (root / "containerpkg.yaml").read_text() + "target: el8\n"
    )
    older = load_project(root)
    assert find_unit_problems(older, [older.image("app")], generators=[]) == (
        Problem(
            path=Path("images/app/image.yaml"),
            key="neighbours",
            message="left out for the target 'el8': only Quadlet of podman 5 and newer reads "
            "drop-ins",
            severity="warning",
        ),
        unchecked,
    )
    # Where there are no units, none was left out.
    assert find_unit_problems(project, [project.image("bad")], generators=[]) == (bad,)
