"""`python -m ribcage.lab.demo`, which is `make demo`."""

import sys

from ribcage.lab.demo.demo import main

sys.exit(main())
