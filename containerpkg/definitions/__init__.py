"""A project as it is written down: ``containerpkg.yaml``, ``images/`` and their Dockerfiles."""
