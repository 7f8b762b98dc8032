"""Build container images in dependency order and publish them as RPM packages."""

__version__ = "0.1.0"
