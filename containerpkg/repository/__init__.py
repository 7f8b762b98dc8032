"""From packages to a yum repository."""
