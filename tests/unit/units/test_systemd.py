import pytest

from containerpkg.errors import PackageError
from containerpkg.units import systemd


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (["redis-server", "/etc/redis.conf"], "redis-server /etc/redis.conf"),
        (["two words", "it's"], '"two words" "it\'s"'),
        (['say "hi"', "C:\\new"], '"say \\"hi\\"" "C:\\\\new"'),
        (["100%", "%n"], '"100%%" "%%n"'),
        (["$HOME", "${X}"], '"$$HOME" "$${X}"'),
        (["\\", ";;", "#", "ü"], '"\\\\" ";;" "#" "ü"'),
        ([], ""),
    ],
)
def test_words_arrive_as_they_are(values: list[str], written: str) -> None:
    assert systemd.words(values) == written


def test_a_health_command_is_one_json_list() -> None:
    assert (
        systemd.shell_command("a \"$X\" 'b' 5% \\") == '["CMD-SHELL", "a \\"$$X\\" \'b\' 5%% \\\\"]'
    )


def test_settings_keep_the_dollar_and_arguments_double_it() -> None:
    assert systemd.setting("5% of $9") == "5%% of $9"
    assert systemd.argument("5% of $9") == "5%% of $$9"


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (systemd.setting, "a\nExecStartPre=/bin/evil"),
        (systemd.setting, "a\\"),
        (systemd.setting, " a"),
        (systemd.setting, "\ud800"),
        (systemd.argument, "a\\"),
        (systemd.argument, '"a'),
        (systemd.argument, 'a"'),
        (systemd.argument, "a\x85b"),
        (lambda value: systemd.words([value]), ""),
        (lambda value: systemd.words([value]), ";"),
        (lambda value: systemd.words([value]), "a\rb"),
        (lambda value: systemd.names([value]), "a b"),
        (systemd.shell_command, "a\0b"),
    ],
)
def test_what_no_unit_can_carry_is_refused(write, value: str) -> None:
    with pytest.raises(PackageError):
        write(value)


@pytest.mark.parametrize("value", ["plain", None, True, ["a"]])
def test_a_template_takes_only_what_was_written_for_units(value: object) -> None:
    with pytest.raises(TypeError):
        systemd.checked(value)
