"""From a project to what is published: the plans that run through all rooms."""
