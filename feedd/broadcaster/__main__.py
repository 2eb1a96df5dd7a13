"""``python -m feedd.broadcaster``: started by the supervisor."""

import signal
import sys

# before the long imports: Ctrl-C is for the supervisor, which ends us in order
signal.signal(signal.SIGINT, signal.SIG_IGN)

from feedd.broadcaster.process import main  # noqa: E402

sys.exit(main())
