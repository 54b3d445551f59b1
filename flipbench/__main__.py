import sys

from flipbench.cli import main

sys.exit(main())
