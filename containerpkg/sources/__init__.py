"""From a definition to a build context."""
