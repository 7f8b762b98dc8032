from __future__ import annotations

import pytest

from containerpkg.definitions.reference import InvalidReference, Reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("redis", "docker.io/library/redis"),
        ("redis:7.2", "docker.io/library/redis:7.2"),
        ("foreman/base", "docker.io/foreman/base"),
        ("docker.io/redis", "docker.io/library/redis"),
        ("index.docker.io/foreman/base:1", "docker.io/foreman/base:1"),
        ("quay.io/foreman/base:3.18", "quay.io/foreman/base:3.18"),
        ("localhost/base", "localhost/base"),
        ("localhost:5000/base", "localhost:5000/base"),
        ("registry:5000/a/b/c:latest", "registry:5000/a/b/c:latest"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        ("Registry/a", "Registry/a"),
        ("a-b--c/d__e.f_g:T-._", "docker.io/a-b--c/d__e.f_g:T-._"),
        (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}"),
        (f"reg:5000/redis:7@{DIGEST}", f"reg:5000/redis:7@{DIGEST}"),
        ("5", "docker.io/library/5"),
    ],
)
def test_short_forms_are_written_out(text: str, full: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert Reference.parse(full) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not an image reference"),
        ("Builder", "'Builder' must have its repository in lower case"),
        ("a/B:1", "'a/B:1' must have its repository in lower case"),
        ("redis:", "'redis:' has an invalid tag ''"),
        ("redis:-x", "'redis:-x' has an invalid tag '-x'"),
        ("redis:" + "x" * 129, f"'redis:{'x' * 129}' has an invalid tag '{'x' * 129}'"),
        ("a//b", "'a//b' is not an image reference"),
        ("/a", "'/a' is not an image reference"),
        ("a b", "'a b' is not an image reference"),
        ("$X", "'$X' is not an image reference"),
        ("a..b/c", "'a..b/c' has an invalid registry 'a..b'"),
        ("redis@sha256:abc", "'redis@sha256:abc' has an invalid digest"),
        (
            f"redis@{DIGEST[:-2]}",
            f"'redis@{DIGEST[:-2]}' has an invalid digest: sha256 has 64 lower-case hex digits",
        ),
        ("ab" * 32, f"'{'ab' * 32}' looks like an image ID, not like a name"),
        ("a/" * 130 + "b", f"'{'a/' * 20}…' has a name of more than 255 characters"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert str(caught.value) == message
