"""From a service to the files that make systemd run it."""
