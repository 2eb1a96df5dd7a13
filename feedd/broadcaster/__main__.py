"""``python -m feedd.broadcaster``: started by the supervisor."""

import sys

from feedd.broadcaster.process import main

sys.exit(main())
