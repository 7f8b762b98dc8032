"""Started as ``python3 FOLDER``, which puts this folder first on Python's path."""

import sys

from containerpkg_host.cli import main

sys.exit(main())
