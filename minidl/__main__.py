"""`python -m minidl` works as `minidl` does."""

import sys

from minidl.cli import main

sys.exit(main())
