"""Container engines: from a build context to an image."""
