"""`python -m posewright` is `posewright`."""

import sys

from posewright.cli import main

sys.exit(main())
