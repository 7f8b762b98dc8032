"""``python -m containerpkg`` is the same as ``containerpkg``."""

from containerpkg.cli import main

main()
