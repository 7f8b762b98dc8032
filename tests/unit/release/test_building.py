"""How plans are run, on an engine in memory."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path

import pytest

from containerpkg.definitions.load import load_project
from containerpkg.errors import BuildError, EngineError, StoreError
from containerpkg.progress import Silent
from containerpkg.release.make import Options, Workshop

TREE = {
    "images/base/Dockerfile": "FROM scratch\nCOPY a /\n",
    "images/base/a": "a",
    "images/left/Dockerfile": "FROM quay.io/example/base:1.0\n",
    "images/leaf/Dockerfile": "FROM quay.io/example/left:1.0\n",
    "images/right/Dockerfile": "FROM quay.io/example/base:1.0\n",
}

Outcomes = dict[str, str]


@pytest.fixture
def build(workshop, engine):
    """Build a project as its files are now; give each image's status."""

    def run(root: Path, *names: str, **options: object) -> Outcomes:
        state = workshop(root)
        images = [state.project.image(name) for name in names] or state.project.images
        report = state.build(images, engine, Options(**{"jobs": 4, **options}))
        return {outcome.image.name: outcome.status for outcome in report.outcomes}

    return run


def test_parents_first_and_one_save_for_all(make_project, build, engine):
    root = make_project(TREE)
    assert build(root, jobs=1) == dict.fromkeys(("base", "left", "leaf", "right"), "built")
    names = [call[1] for call in engine.calls if call[0] == "build"]
    assert sorted(names, key=names.index) == names
    assert names.index("base") < names.index("left") < names.index("leaf")
    assert names.index("base") < names.index("right")
    [save] = [call for call in engine.calls if call[0] == "save"]
    assert set(save[1:]) == set(engine.images)
    engine.calls.clear()
    assert build(root) == dict.fromkeys(("base", "left", "leaf", "right"), "kept")
    assert engine.calls == []


def test_independent_images_are_built_side_by_side(make_project, build, engine):
    meeting = threading.Barrier(2)
    engine.on_build = dict.fromkeys(("left", "right"), lambda *_: meeting.wait(30) and None)
    assert build(make_project(TREE), jobs=2) == dict.fromkeys(
        ("base", "left", "leaf", "right"), "built"
    )


def fail(request, on_line):
    on_line("Step 1/2 : RUN x")
    on_line("\x1b[91mx: not found")
    on_line("\x1b[0m")
    raise BuildError(f"image '{request.image}' did not build: status 127\nand more")


def test_a_failure_takes_its_children_and_nobody_else(make_project, workshop, engine):
    root = make_project(TREE)
    engine.on_build["left"] = fail
    state = workshop(root)
    report = state.build(state.project.images, engine, Options(jobs=2))
    log = root / ".containerpkg/logs/left.log"
    assert [(o.image.name, o.status, bool(o.image_id)) for o in report.outcomes] == [
        ("base", "built", True),
        ("left", "failed", False),
        ("right", "built", True),
        ("leaf", "skipped", False),
    ]
    assert report.failure is not None
    assert report.failure.message == (
        "image 'left' did not build: status 127\n"
        "    Step 1/2 : RUN x\n"
        "    x: not found\n"
        "not built because of that: leaf"
    )
    assert report.failure.hint == f"the whole log: {log}"
    assert log.read_text() == "Step 1/2 : RUN x\nx: not found\n"
    # What was built is not built again.
    engine.on_build.clear()
    engine.built()
    state.build(state.project.images, engine, Options(jobs=2))
    assert engine.built() == ["left", "leaf"]


def test_a_parent_rebuilt_to_the_same_image_keeps_its_children(make_project, build, engine):
    root = make_project(TREE)
    build(root)
    engine.built()
    (root / "images/base/Dockerfile").write_text("# new\nFROM scratch\nCOPY a /\n")
    assert build(root) == {"base": "built", "left": "kept", "leaf": "kept", "right": "kept"}
    assert engine.calls == [("build", "base")], "nothing is saved that the store has"
    (root / "images/base/a").write_text("A")
    assert build(root) == dict.fromkeys(("base", "left", "leaf", "right"), "built")


def test_a_parent_that_the_engine_lost_comes_from_the_store(make_project, build, engine):
    root = make_project(TREE)
    build(root)
    base = engine.tags["quay.io/example/base:1.0"]
    engine.images.clear()
    engine.tags.clear()
    engine.calls.clear()
    (root / "images/right/file").touch()
    assert build(root) == {"base": "kept", "left": "kept", "leaf": "kept", "right": "built"}
    right = engine.tags["quay.io/example/right:1.0"]
    assert engine.calls == [
        ("load", "quay.io/example/base:1.0"),
        ("build", "right"),
        ("save", right),
    ]
    assert engine.tags["quay.io/example/base:1.0"] == base


def test_a_name_that_means_another_image_is_put_right(make_project, build, engine):
    root = make_project(TREE)
    build(root)
    base = engine.tags["quay.io/example/base:1.0"]
    engine.tags["quay.io/example/base:1.0"] = engine.add((b"not ours",))
    engine.calls.clear()
    (root / "images/right/file").touch()
    build(root)
    assert engine.calls[:2] == [("tag", base, "quay.io/example/base:1.0"), ("build", "right")]


def test_a_parent_that_nobody_has_is_named(make_project, build, engine):
    root = make_project(TREE)
    build(root)
    base = engine.tags["quay.io/example/base:1.0"]
    engine.images.clear()
    engine.tags.clear()
    for blob in (root / ".containerpkg/blobs/sha256").iterdir():
        blob.unlink()
    with pytest.raises(StoreError) as caught:
        build(root, "right")
    assert caught.value.message == (
        f"image 'right' is built from 'base' ({base}), which neither the engine nor the store "
        "has any more"
    )
    assert caught.value.hint == "containerpkg build base"


def test_what_the_engine_still_has_is_taken(make_project, build, engine):
    root = make_project(TREE)
    build(root)
    for blob in (root / ".containerpkg/blobs/sha256").iterdir():
        blob.unlink()
    engine.built()
    assert build(root) == dict.fromkeys(("base", "left", "leaf", "right"), "taken")
    assert engine.built() == []
    assert build(root) == dict.fromkeys(("base", "left", "leaf", "right"), "kept")


PREPARED = {
    "images/base/Dockerfile": "FROM scratch\nADD root.tar /\n",
    "images/base/image.yaml": "summary: x\nlicense: MIT\nprepare: make\n",
    "images/base/make": "#!/bin/sh\n"
    'echo "for $CONTAINERPKG_IMAGE"; echo >> ../../runs; echo x > "$1/root.tar"\n',
}


def test_what_a_prepare_step_wrote_outlives_a_failed_build_only(make_project, build, engine):
    root = make_project(PREPARED)
    seen: list[str] = []

    def look(request, on_line):
        seen.append((request.generated / "root.tar").read_text())
        if len(seen) == 1:
            fail(request, on_line)

    engine.on_build["base"] = look
    # What a killed run was preparing.
    debris = root / ".containerpkg/prepared/base/.0123.abc"
    debris.mkdir(parents=True)
    prepared = root / ".containerpkg/prepared/base"
    log = root / ".containerpkg/logs/base.log"
    assert build(root) == {"base": "failed"}
    assert log.read_text() == "for base\nStep 1/2 : RUN x\nx: not found\n"
    [kept] = prepared.iterdir()
    assert build(root) == {"base": "built"}
    assert log.read_text() == f"prepare: the files of the last attempt are still there: {kept}\n"
    assert seen == ["x\n", "x\n"]
    assert (root / "runs").read_text() == "\n", "it ran once"
    assert not prepared.exists()


@pytest.mark.parametrize("options", [{"force": True}, {"no_cache": True}], ids=str)
def test_what_is_built_by_force_is_prepared_anew(make_project, build, engine, options):
    root = make_project(PREPARED)
    engine.on_build["base"] = fail
    assert build(root) == {"base": "failed"}
    engine.on_build.clear()
    assert build(root, **options) == {"base": "built"}
    assert (root / "runs").read_text() == "\n\n"


def test_a_prepare_step_that_fails_leaves_nothing_and_says_so(make_project, workshop, engine):
    root = make_project(
        {**PREPARED, "images/base/make": '#!/bin/sh\ntouch "$1/half"\necho no mirror\nexit 3\n'}
    )
    state = workshop(root)
    report = state.build(state.project.images, engine, Options(jobs=1))
    make = root / "images/base/make"
    assert report.failure is not None
    assert report.failure.message == (
        f"image 'base': its prepare step {make} failed: make failed with status 3:\n    no mirror"
    )
    assert report.failure.hint == (
        f"run it by hand: mkdir /tmp/base; {make} /tmp/base; "
        f"the whole log: {root}/.containerpkg/logs/base.log"
    )
    assert list((root / ".containerpkg/prepared/base").iterdir()) == []
    assert engine.built() == []


def test_an_engine_that_goes_away_ends_the_run_and_what_was_built_stays(
    make_project, workshop, build, engine
):
    root = make_project(TREE)

    def gone(request, on_line):
        raise EngineError("Docker Engine stopped answering")

    engine.on_build["left"] = gone
    with pytest.raises(EngineError, match="stopped answering"):
        build(root, jobs=1)
    state = workshop(root)
    assert state.records.last_build("base") is not None
    assert state.records.last_build("left") is None
    engine.on_build.clear()
    engine.built()
    statuses = build(root, jobs=1)
    assert statuses["base"] == "taken", "it was built, and not yet in the store"
    assert "base" not in engine.built()


def test_other_names_under_which_an_image_is_used(make_project, build, engine):
    root = make_project(
        {
            "images/base/Dockerfile": "FROM scratch\n",
            "images/a/Dockerfile": "FROM quay.io/example/base:stable\n",
            "images/b/Dockerfile": "FROM quay.io/example/base\n",
        }
    )
    assert build(root) == {"base": "built", "a": "built", "b": "built"}
    assert sorted(engine.tags) == [
        "quay.io/example/a:1.0",
        "quay.io/example/b:1.0",
        "quay.io/example/base",
        "quay.io/example/base:1.0",
        "quay.io/example/base:stable",
    ]


def test_an_image_whose_files_change_while_it_is_built_is_not_recorded(make_project, build, engine):
    root = make_project(TREE)
    edited = root / "images/left/edited"
    engine.on_build["left"] = lambda *_: edited.write_text("now") and None
    assert build(root) == {
        "base": "built",
        "left": "failed",
        "leaf": "skipped",
        "right": "built",
    }
    engine.on_build.clear()
    edited.unlink()
    assert build(root)["left"] == "built"


def test_an_engine_that_calls_images_by_their_manifests(make_project, workshop, build, engine):
    engine.manifests = True
    root = make_project(TREE)
    state = workshop(root)
    report = state.build(state.project.images, engine, Options(jobs=1))
    ids = {outcome.image.name: outcome.image_id for outcome in report.outcomes}
    configs = {n: _id_of_config(engine, f"quay.io/example/{n}:1.0") for n in ids}
    assert ids == configs, "what is told is the digest of the configuration"
    assert {n: state.store.image(i).id for n, i in ids.items()} == configs
    engine.calls.clear()
    assert build(root) == dict.fromkeys(("base", "left", "leaf", "right"), "kept")
    assert engine.calls == []

    # The engine loses all, and gives what it loads another ID.
    built = engine.tags["quay.io/example/base:1.0"]
    engine.images.clear()
    engine.tags.clear()
    (root / "images/left/file").touch()
    (root / "images/right/file").touch()
    statuses = {"base": "kept", "left": "built", "leaf": "built", "right": "built"}
    assert build(root, jobs=1) == statuses
    assert engine.tags["quay.io/example/base:1.0"] != built
    assert [call for call in engine.calls if call[0] in {"load", "tag"}] == [
        ("load", "quay.io/example/base:1.0")
    ], "once for both"
    assert build(root) == dict.fromkeys(("base", "left", "leaf", "right"), "kept")


def _id_of_config(engine, reference):
    config, _ = engine.images[engine.tags[reference]]
    return f"sha256:{sha256(config).hexdigest()}"


def test_a_parent_that_is_renamed_under_the_build_is_noticed(make_project, workshop, engine):
    """As another run does on the same engine, between our look at the name and the builder's."""
    root = make_project(
        {
            **TREE,
            "images/right/Dockerfile": "FROM quay.io/example/base:1.0 AS one\nFROM one\n",
            "images/aside/Dockerfile": "FROM scratch\nCOPY --from=quay.io/example/base:1.0 /a /\n",
        }
    )

    def rename(request, on_line):
        engine.tags["quay.io/example/base:1.0"] = engine.add((b"not ours",))

    engine.on_build = dict.fromkeys(("left", "right", "aside"), rename)
    state = workshop(root)
    report = state.build(state.project.images, engine, Options(jobs=1))
    assert {o.image.name: o.status for o in report.outcomes} == {
        "base": "built",
        "aside": "built",
        "left": "failed",
        "leaf": "skipped",
        "right": "failed",
    }
    assert report.failure is not None
    assert report.failure.message.splitlines()[0] == (
        "image 'left' was built on another image than the 'base' of this run, whose name somebody "
        "else gave away meanwhile"
    )
    assert "run the command again" in report.failure.hint
    engine.on_build.clear()
    assert set(statuses_of(workshop(root), engine).values()) == {"kept", "built"}


def statuses_of(state, engine):
    report = state.build(state.project.images, engine, Options(jobs=1))
    return {outcome.image.name: outcome.status for outcome in report.outcomes}


def test_an_engine_of_another_architecture(make_project, build, workshop, engine):
    root = make_project(TREE)
    build(root)
    engine.architecture = "arm64"
    (root / "images/right/file").touch()
    state = workshop(root)
    report = state.build(state.project.images, engine, Options(jobs=1))
    assert report.failure is not None
    assert report.failure.message == (
        "image 'right' was built for arm64 on 'base', which is for amd64"
    )
    assert build(root, force=True) == dict.fromkeys(("base", "left", "leaf", "right"), "built")


def test_the_builder_is_told_once_and_only_before_a_build(make_project, workshop, engine):
    class Notes(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    root = make_project(TREE)
    for expected in (["building with fake"], []):
        told: list[str] = []
        state = Workshop(load_project(root), progress=Notes())
        state.build(state.project.images, engine, Options(jobs=4))
        assert told == expected
