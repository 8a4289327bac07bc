"""`python -m ridgeline_sdk` is the `ridgeline` command."""

import sys

from .cli import main

sys.exit(main())
