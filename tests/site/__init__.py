"""Tests on a host that has systemd and dnf and has never seen a network."""
