"""For ``python3 -m containerpkg_host``."""

import sys

from containerpkg_host.cli import main

sys.exit(main())
