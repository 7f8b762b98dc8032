import pytest

from containerpkg.errors import PackageError
from containerpkg.packages import spec


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("100% of it", "100%{percent} of it"),
        ("%{lua:x} %(y) %%", "%{percent}{lua:x} %{percent}(y) %{percent}%{percent}"),
        ("\\%{x", "\\%{percent}{x"),
        ("ends with \\", "ends with \\%{nil}"),
        ("# ${HOME} \"'", "# ${HOME} \"'"),
        (7, "7"),
    ],
)
def test_a_line(text: object, written: str) -> None:
    assert spec.line(text) == written


def test_a_description() -> None:
    text = "\n".join(
        ["%install", "  %if 1  ", "", "word " * 30, "- item", "# no", "  " + "x" * 90, "a \\"]
    )
    assert spec.description(text).split("\n") == [
        "\u2060%{percent}install",
        "  \u2060%{percent}if 1",
        "",
        " ".join(["word"] * 16),
        " ".join(["word"] * 14),
        "- item",
        "\u2060# no",
        "  " + "x" * 90,
        "a \\%{nil}",
    ]


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (spec.line, "a\n%post"),
        (spec.line, "a\rb"),
        (spec.line, "\ud800"),
        (spec.description, "a\x0bb"),
        (spec.path, "/etc/a b"),
        (spec.path, "/etc/*"),
        (spec.path, "/etc/[a]"),
        (spec.path, "/etc/%config"),
        (spec.path, "etc/a"),
        (spec.path, "/etc/a\n/etc/shadow"),
        (spec.dependency, "a b"),
        (spec.dependency, "(a if b)"),
        (spec.dependency, "a = 1, b"),
        (spec.dependency, "container(%{x}) = 1"),
    ],
)
def test_refused(write, value: str) -> None:
    with pytest.raises(PackageError):
        write(value)


@pytest.mark.parametrize("value", [None, True, ["a"]])
def test_only_text_and_numbers(value: object) -> None:
    with pytest.raises(TypeError):
        spec.line(value)
