from __future__ import annotations

import json
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from containerpkg.definitions.schema import json_schemas

FOLDER = Path(__file__).parents[3] / "docs/schema"


def test_the_committed_schemas_are_the_generated_ones() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert committed == json_schemas()


def test_they_are_schemas_and_every_key_is_described() -> None:
    for text in json_schemas().values():
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
        for model in (schema, *schema["$defs"].values()):
            bare = [key for key, value in model["properties"].items() if "description" not in value]
            assert bare == []


def test_they_accept_and_refuse_what_the_models_do() -> None:
    schema = Draft202012Validator(json.loads(json_schemas()["image.schema.json"]))
    good = yaml.safe_load("{summary: a, license: b, services: {a: {ports: ['80:80']}}}")
    bad = yaml.safe_load("{summary: a, license: b, sevices: {}}")
    assert (schema.is_valid(good), schema.is_valid(bad)) == (True, False)
