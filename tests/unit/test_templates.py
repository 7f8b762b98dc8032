from pathlib import Path

import pytest

from containerpkg.errors import DefinitionError, HostError
from containerpkg.templates import render


def _shout(value: object) -> str:
    return str(value).upper()


def test_a_projects_template_comes_first_and_every_value_is_serialized(tmp_path: Path) -> None:
    folder = tmp_path / "systemd"
    folder.mkdir()
    (folder / "sysconfig.j2").write_text("{{ service }} {{ 'x' }} plain\n")
    text = render(
        "sysconfig.j2", {"service": "a"}, kind="systemd", serialize=_shout, project=tmp_path
    )
    assert text == "A X plain\n"


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("a\n{% if %}\n", 2, "Expected an expression, got 'end of statement block'"),
        ("a\n\n{{ nothing }}\n", 3, "'nothing' is undefined"),
    ],
)
def test_a_wrong_template_is_told_with_its_place(
    tmp_path: Path, text: str, line: int, complaint: str
) -> None:
    path = tmp_path / "systemd" / "own.j2"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        render("own.j2", {}, kind="systemd", serialize=_shout, project=tmp_path)
    assert caught.value.message == f"{path}:{line}: the template cannot be filled: {complaint}"


def test_a_missing_template(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"the template systemd/none\.j2 is missing"):
        render("none.j2", {}, kind="systemd", serialize=_shout)
