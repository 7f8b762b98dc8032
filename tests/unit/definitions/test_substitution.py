from __future__ import annotations

import pytest

from containerpkg.definitions.substitution import Substituted, SubstitutionError, substitute

VALUES = {"A": "one", "EMPTY": "", "B_2": "two", "PATH_": "/usr/local/lib/libx.so.1.2", "S": "a*b"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("$A", "one"),
        ("${A}", "one"),
        ("$A-$B_2.", "one-two."),
        ("${A}x$Ax", "onex"),
        ("$", "$"),
        ("a$ b$/c", "a$ b$/c"),
        ("$$A", "A"),  # '$$' is the special parameter '$', which is unset
        ("$1A", "A"),
        (r"\$A", "$A"),
        (r"\\$A", r"\one"),
        ("'$A'", "$A"),
        ('"$A"', "one"),
        ("\"'$A'\"", "'one'"),
        (r'"\$A \" \x"', r'$A " \x'),
        (r"a\ b", "a b"),
        ("x\\", "x"),
        ("a\"b\"c'd'", "abcd"),
        ("${NO:-word}", "word"),
        ("${NO-word}", "word"),
        ("${EMPTY:-word}", "word"),
        ("${EMPTY-word}", ""),
        ("${A:-word}", "one"),
        ("${NO:+word}", ""),
        ("${EMPTY:+word}", ""),
        ("${EMPTY+word}", "word"),
        ("${A:+word}", "word"),
        ("${A:?bad}", "one"),
        ("${EMPTY?bad}", ""),
        ("${NO:-${A}}", "one"),
        ("${NO:-${NEITHER:-$A}}", "one"),
        ("${NO:-${A}:${B_2}}", "one:two"),
        ("${A:+${NO:-deep}}", "deep"),
        ("${NO:-'}'}", "}"),
        (r"${NO:-\}}", "}"),
        ('${NO:-"a b"}', "a b"),
        ("${PATH_#*/}", "usr/local/lib/libx.so.1.2"),
        ("${PATH_##*/}", "libx.so.1.2"),
        ("${PATH_%.*}", "/usr/local/lib/libx.so.1"),
        ("${PATH_%%.*}", "/usr/local/lib/libx"),
        ("${PATH_%.?}", "/usr/local/lib/libx.so.1"),
        ("${PATH_#no}", "/usr/local/lib/libx.so.1.2"),
        ("${PATH_/l?b/X}", "/usr/local/X/libx.so.1.2"),
        ("${PATH_//lib/X}", "/usr/local/X/Xx.so.1.2"),
        (r"${PATH_//\//_}", "_usr_local_lib_libx.so.1.2"),
        (r"${S%\*b}", "a"),
        ("${S/[/x}", "a*b"),
        ("$é", ""),
    ],
)
def test_substitutes_as_buildkit_does(word: str, expected: str) -> None:
    assert substitute(word, VALUES).text == expected


def test_tells_which_variables_were_used_and_which_are_unset() -> None:
    assert substitute("${NO:-$A}$NO$EMPTY", VALUES) == Substituted(
        text="one", used=("A", "EMPTY"), unset=("NO",)
    )


def test_the_escape_character_can_be_a_backtick() -> None:
    assert substitute(r"C:\dir`$A\$A", VALUES, escape="`").text == r"C:\dir$A\one"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${A", "'${A' lacks a '}'"),
        ("${", "'${' lacks a '}'"),
        ("${A:-x", "'${A:-x' lacks a '}'"),
        ("${NO:-${A}", "'${NO:-${A}' lacks a '}'"),
        ("${}", "'${}' has a bad substitution"),
        ("${:-x}", "'${:-x}' has a bad substitution"),
        ("${A!x}", "'${A!x}' has an unsupported modifier '!'"),
        ("${A:}", "'${A:}' has an unsupported modifier ':}'"),
        ("${A:#x}", "'${A:#x}' has an unsupported modifier ':#'"),
        ("${A/x}", "'${A/x}' lacks a '/'"),
        (r"${A#\x}", r"'${A#\x}' has an invalid escape '\x'"),
        ("'a", "''a' lacks a closing single quote"),
        ('"a', "'\"a' lacks a closing double quote"),
        ("${NO?}", "NO: must not be unset"),
        ("${EMPTY:?}", "EMPTY: must not be empty"),
        ("${NO:?give a $B_2}", "NO: give a two"),
    ],
)
def test_refuses_what_buildkit_refuses(word: str, message: str) -> None:
    with pytest.raises(SubstitutionError) as caught:
        substitute(word, VALUES)
    assert str(caught.value) == message
