"""The JSON Schemas of the definition files and of the lock file, generated from the models."""

from __future__ import annotations

import json

from pydantic import BaseModel

from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.lock import LOCK_FILE, LockFile
from containerpkg.definitions.project import ProjectFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, str]:
    """The text of each schema by its file name, for editors that complete and check YAML."""
    return {
        "containerpkg.schema.json": _text(ProjectFile, "containerpkg.yaml"),
        "image.schema.json": _text(ImageFile, "image.yaml"),
        "lock.schema.json": _text(LockFile, LOCK_FILE),
    }


def _text(model: type[BaseModel], title: str) -> str:
    schema = {"$schema": _DIALECT, **model.model_json_schema(), "title": title}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
