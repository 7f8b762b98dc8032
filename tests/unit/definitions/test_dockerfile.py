# ruff: noqa: E501 - the tables hold whole messages
from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.definitions.dockerfile import (
    Argument,
    Dockerfile,
    ImageUse,
    Stage,
    parse_dockerfile,
)
from containerpkg.errors import DefinitionError, Problem

PATH = Path("images/x/Dockerfile")
DIGEST = "sha256:" + "0a" * 32


def parse(text: str, **args: str) -> Dockerfile:
    return parse_dockerfile(text, PATH, args, platform="linux/arm64/v8")


def problems(text: str, **args: str) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        parse(text, **args)
    return caught.value.problems


def named(text: str, **args: str) -> list[str]:
    """Every image that is named, as ``LINE INSTRUCTION REFERENCE``."""
    uses = parse(text, **args).uses
    return [f"{use.line} {use.instruction} {use.reference}" for use in uses]


def test_a_real_multi_stage_dockerfile() -> None:
    text = f"""\
# syntax=docker/dockerfile:1.7
# the release to build
ARG VERSION=3.18 \\
    # and what it stands on
    BASE=quay.io/example/base
ARG FLAVOUR
from --platform=$BUILDPLATFORM ${{BASE}}:${{VERSION:-1}}${{FLAVOUR:+-$FLAVOUR}} As Builder
ARG VERSION
ARG TARGETARCH=amd64
ENV TOKEN=npm-$VERSION OTHER="a b"
RUN --mount=type=secret,id=$TOKEN --mount=type=secret,target=/run/secrets/ca-bundle \\
    --mount=type=bind,from=registry:5000/tools:2,target=/tools \\
    make <<EOF
FROM not-an-instruction
COPY --from=neither /a /b
EOF

FROM Scratch AS files
COPY --link --from=BUILDER ["/out dir", "/"]
FROM builder
COPY --from=0 /a /b
COPY --from=files /a /b
COPY --chown=0:0 --from=quay.io/example/certs@{DIGEST} /certs /certs
RUN --mount=from=files,target=/f true
copy --from=scratch / /
"""
    assert parse(text.replace("Scratch", "scratch"), FLAVOUR="fips") == Dockerfile(
        path=PATH,
        stages=(
            Stage(
                index=0,
                name="builder",
                base="quay.io/example/base:3.18-fips",
                base_stage=None,
                platform="linux/arm64/v8",
                line=7,
            ),
            Stage(index=1, name="files", base="scratch", base_stage=None, platform="", line=18),
            Stage(index=2, name="", base="builder", base_stage=0, platform="", line=20),
        ),
        uses=(
            ImageUse(
                reference="quay.io/example/base:3.18-fips", instruction="FROM", line=7, stage=0
            ),
            ImageUse(reference="registry:5000/tools:2", instruction="RUN", line=11, stage=0),
            ImageUse(
                reference=f"quay.io/example/certs@{DIGEST}", instruction="COPY", line=23, stage=2
            ),
        ),
        arguments=(
            Argument(name="VERSION", default="3.18", line=3, stage=None),
            Argument(name="BASE", default="quay.io/example/base", line=3, stage=None),
            Argument(name="FLAVOUR", default=None, line=6, stage=None),
            Argument(name="VERSION", default=None, line=8, stage=0),
            Argument(name="TARGETARCH", default="amd64", line=9, stage=0),
        ),
        secrets=("ca-bundle", "npm-3.18"),
        buildkit_features=(
            "# syntax=",
            "COPY --link",
            "RUN --mount",
            "heredoc",
            "predefined ARG BUILDPLATFORM",
        ),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch", []),
        ("\ufeffFROM a\r\nRUN x \\\r\n  FROM b\r\n", ["1 FROM a"]),
        ("FROM\ta:1   aS\tb\nFROM b", ["1 FROM a:1"]),
        ("FROM a AS a\nFROM a", ["1 FROM a"]),
        ("FROM a AS b\nFROM b AS b\nFROM b", ["1 FROM a"]),
        ("FROM b AS a\nFROM c AS b", ["1 FROM b", "2 FROM c"]),
        ("FROM 0\nFROM a\nCOPY --from=0 x y", ["1 FROM 0", "2 FROM a"]),
        ("FROM localhost:5000/a/b:1", ["1 FROM localhost:5000/a/b:1"]),
        (f"FROM a:1@{DIGEST}", [f"1 FROM a:1@{DIGEST}"]),
        ("ARG A=x\nARG B=$A:1\nFROM $B", ["3 FROM x:1"]),
        ("ARG B=$A:1\nARG A=x\nFROM x$B", ["3 FROM x:1"]),
        ("ARG A=x\nARG A\nFROM $A", ["3 FROM x"]),
        ("ARG A=x-y\nFROM ${A%%-*}", ["2 FROM x"]),
        ('ARG TAG="1"\nFROM "a:${TAG}"', ["2 FROM a:1"]),
        ("FROM a\nARG A=x\nFROM b$A", ["1 FROM a", "3 FROM b"]),
        ("ARG REG=quay.io/\nFROM ${REG}a AS x\nFROM ${REG:-}b", ["2 FROM quay.io/a", "3 FROM quay.io/b"]),
        ("FROM a-$TARGETARCH$TARGETVARIANT", ["1 FROM a-arm64v8"]),
        ("ARG TARGETARCH=s390x\nFROM a-$TARGETARCH", ["2 FROM a-s390x"]),
        ("ARG TARGETARCH\nFROM a-$TARGETARCH", ["2 FROM a-arm64"]),
        ("# escape=`\nARG A=x`\n:2\nFROM $A", ["4 FROM x:2"]),
        ("# comment first\n# escape=`\nFROM a\nRUN dir c:\\\n", ["3 FROM a"]),
        ("FROM a\n# COPY --from=b x y\nRUN a && \\\n# COPY --from=c x y\n\n  b", ["1 FROM a"]),
        ('FROM a\nCMD ["FROM", "b"]\nSHELL ["/bin/sh"]\nRUN ["COPY", "--from=c"]', ["1 FROM a"]),
        ("FROM a\nCOPY <<A <<-'B' /x/\nFROM b\nA\n\tB\nCOPY --from=c x y", ["1 FROM a", "6 COPY c"]),
        ("FROM a\nCOPY \\\n  --from=b \\\n  x y", ["1 FROM a", "2 COPY b"]),
        ("FROM a\nRUN --mount=target=/x,FROM=b,type=bind y", ["1 FROM a", "2 RUN b"]),
        ("FROM a\nRUN --mount=type=cache,target=/x --mount=type=tmpfs,target=/y z", ["1 FROM a"]),
        ('FROM a\nRUN --mount=type=bind,"from=b",target=/x y', ["1 FROM a", "2 RUN b"]),
        ("FROM a AS x\nONBUILD COPY --from=b f f", ["1 FROM a"]),
        ("FROM a AS x\nONBUILD COPY --from=b f f\nFROM x", ["1 FROM a", "2 COPY b"]),
        ("FROM a AS x\nONBUILD RUN --mount=from=b,target=/b <<E\nE\nFROM x", ["1 FROM a", "2 RUN b"]),
    ],
)  # fmt: skip
def test_the_images_that_a_dockerfile_names(text: str, expected: list[str]) -> None:
    assert named(text) == expected


def test_build_arguments_win_where_they_are_declared() -> None:
    text = "ARG A=a\nFROM $A\nARG B=b\nFROM x$B\nARG A\nRUN --mount=type=secret,id=$A x"
    found = parse(text, A="given", B="given")
    assert [use.reference for use in found.uses] == ["given", "x"]
    assert found.secrets == ("given",)


def test_predefined_arguments_can_be_given() -> None:
    assert named("FROM --platform=$TARGETPLATFORM a-$TARGETARCH", TARGETARCH="ppc64le") == [
        "1 FROM a-ppc64le"
    ]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("RUN --mount=type=secret,id=a --mount=id=b,type=SECRET x", ("a", "b")),
        ("RUN --mount=type=secret,source=a,target=/b x", ("a",)),
        ("RUN --mount=type=secret,dst=/run/a x", ("a",)),
        ("ARG G\nRUN --mount=type=secret,id=$G x", ("global",)),
        ("RUN --mount=type=secret,id=$G x", ("$G",)),
        ("ENV T secret\nARG K=$T\nRUN --mount=type=$K,id=${T}s x", ("secrets",)),
        ("ENV A=${NOT_HERE:?from-the-base}\nRUN --mount=type=secret,id=a x", ("a",)),
        ("RUN --mount=type=ssh x", ()),
    ],
)
def test_secrets(text: str, secrets: tuple[str, ...]) -> None:
    assert parse(f"ARG G=global\nFROM a\n{text}").secrets == secrets


def test_a_stage_inherits_the_variables_of_the_stage_it_builds_on() -> None:
    text = "FROM a AS x\nARG K=key\nFROM x\nRUN --mount=type=secret,id=$K y"
    assert parse(text).secrets == ("key",)


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("FROM a\nRUN x\nCOPY --chown=1 a b\nADD --chown=1 a b", ()),
        ("#!/usr/bin/x\n# syntax = a\nFROM a", ("# syntax=",)),
        ("FROM a\nRUN --network=none x\nADD --checksum=x a b\nCOPY --chmod=1 a b",
         ("ADD --checksum", "COPY --chmod", "RUN --network")),
        ("FROM a\nARG TARGETARCH\nRUN x", ("predefined ARG TARGETARCH",)),
        ("ARG TARGETARCH=x\nFROM a-$TARGETARCH\nARG TARGETARCH\nRUN x", ()),
        ("FROM a\nONBUILD RUN --mount=type=cache,target=/x <<E\nE", ("RUN --mount", "heredoc")),
        ("FROM a\nRUN echo '<<EOF'", ()),
    ],
)  # fmt: skip
def test_what_only_buildkit_builds(text: str, features: tuple[str, ...]) -> None:
    found = parse(text)
    assert (found.buildkit_features, found.needs_buildkit) == (features, bool(features))


def test_onbuild_of_the_last_stage_is_kept_for_its_children() -> None:
    found = parse("FROM a AS x\nONBUILD COPY --from=x f f\nFROM b\nONBUILD COPY --from=c f f")
    assert found.onbuild_uses == (ImageUse(reference="c", instruction="COPY", line=4, stage=1),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(0, "has no instructions", "begin with FROM")]),
        ("# only a comment\n", [(0, "has no instructions", "begin with FROM")]),
        ("ARG A=b\n", [(0, "has no FROM", "name the image to build from, or 'FROM scratch'")]),
        ("RUN x\nFROM a", [(1, "RUN stands before any FROM", "")]),
        ("FROM", [(1, "FROM takes IMAGE or IMAGE AS NAME", "")]),
        ("FROM a # why", [(1, "FROM takes IMAGE or IMAGE AS NAME", "put the comment on a line of its own")]),
        ("FROM a AS 1st", [(1, "'1st' cannot be the name of a stage",
                            "begin with a letter; letters, digits and - _ . may follow")]),
        ("ARG A\nFROM a\nFROM $A", [(3, "FROM $A is empty: A has no value",
                                     "declare 'ARG A=…' before the first FROM, or give it in args")]),
        ("FROM a\nARG B=x\nFROM ${B}", [(3, "FROM ${B} is empty: B has no value",
                                         "declare 'ARG B=…' before the first FROM, or give it in args")]),
        ("FROM ${A", [(1, "FROM cannot be substituted: '${A' lacks a '}'", "")]),
        ("FROM ${A:?needed}", [(1, "FROM cannot be substituted: A: needed", "")]),
        ("ARG A=${B?needed}\nFROM a", [(1, "cannot be substituted: B: needed", "")]),
        ("FROM --platform=$NO a", [(1, "--platform $NO is empty: NO has no value",
                                    "declare 'ARG NO=…' before the first FROM, or give it in args")]),
        ("FROM --platform=a/b/c/d a", [(1, "'a/b/c/d' is not a platform", "like linux/arm64")]),
        ("FROM a:b:c", [(1, "FROM: 'a:b:c' is not an image reference", "")]),
        ("FROM a AS Base\nFROM Base", [(2, "FROM: 'Base' must have its repository in lower case",
                                        "for the stage of that name write 'FROM base'")]),
        ("FROM a\nCOPY --from=5 x y", [(2, "COPY --from=5: there are only the stages 0 to 0", "")]),
        ("FROM a\nCOPY --from=-1 x y", [(2, "COPY --from=-1: there are only the stages 0 to 0", "")]),
        ("FROM a\nCOPY --from=0 x y", [(2, "COPY --from=0 is the stage it stands in", "")]),
        ("FROM a\nCOPY --from=b x y\nFROM c AS b",
         [(2, "COPY --from=b: that stage comes later", "move it before this one")]),
        ("FROM a\nARG A=b\nCOPY --from=$A x y",
         [(3, "COPY --from=$A: variables are not replaced here",
           "give it a stage of its own, 'FROM $A AS source'")]),
        ("FROM a\nCOPY --from x y z", [(2, "COPY --from has no value", "COPY --from=NAME")]),
        ("FROM a\nCOPY --from=B:1 x y", [(2, "COPY: 'B:1' must have its repository in lower case", "")]),
        ("FROM a\nADD --from=b x y", [(2, "ADD has no --from", "use COPY --from")]),
        ("FROM a\nRUN --mount=from=$A,target=/x y",
         [(2, "RUN --mount from=$A: variables are not replaced here",
           "give it a stage of its own, 'FROM $A AS source'")]),
        ("FROM a AS b\nFROM b\nRUN --mount=from=0,target=/x y",
         [(3, "RUN --mount from=0: a stage goes by its name here, not by its number",
           "name the stage with 'FROM … AS NAME'")]),
        ("FROM a\nCOPPY x y\nRNU x",
         [(2, "'COPPY' is not an instruction", "did you mean 'COPY'?"),
          (3, "'RNU' is not an instruction", "did you mean 'RUN'?")]),
        ("FROM a\n\\\n\n", [(2, "there is no instruction before the end of this line's continuation", "")]),
        ("FROM a\nONBUILD FROM b", [(2, "FROM is not allowed behind ONBUILD", "")]),
        ("FROM a\nONBUILD", [(2, "ONBUILD needs an instruction behind it", "")]),
        ("FROM a\nRUN x\n\n# c\nRUN <<EOF\nRUN y\n",
         [(5, "the heredoc that begins here has no end", "end it with its word alone on a line")]),
        ("FROM a\nENV A=1 \\\n B\nRUN x",
         [(3, "cannot be parsed: syntax error - can't find = in \"B\". Must be of the form: name=value", "")]),
        ("# escape=x\nFROM a", [(2, "cannot be parsed: invalid escape token 'x' does not match ` or \\", "")]),
        ("FROM a\nRUN a\0b", [(2, "contains a NUL character", "")]),
        ("FROM ${A\nFROM B\nCOPY --from=9 x y",
         [(1, "FROM cannot be substituted: '${A' lacks a '}'", ""),
          (2, "FROM: 'B' must have its repository in lower case", ""),
          (3, "COPY --from=9: there are only the stages 0 to 1", "")]),
    ],
)  # fmt: skip
def test_problems_have_a_line(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert [(problem.line, problem.message, problem.hint) for problem in problems(text)] == expected
    assert {problem.path for problem in problems(text)} == {PATH}


def test_volumes_of_the_last_stage_and_those_below_it() -> None:
    text = """\
FROM scratch AS base
ARG DATA=/data
VOLUME $DATA relative
FROM scratch AS other
VOLUME /other
FROM base
ENV MORE=more
VOLUME ["/a b", "/${MORE}/"]
VOLUME $UNKNOWN/x /c
ONBUILD VOLUME /later
"""
    assert [(v.path, v.line) for v in parse(text).volumes] == [
        ("/data", 3),
        ("/a b", 8),
        ("/more/", 8),
        ("/c", 9),
    ]
