"""``python -m feedd.reader``: the reader process (started by the supervisor)."""

import signal
import sys

# before the long imports: Ctrl-C is for the supervisor, which ends us in order
signal.signal(signal.SIGINT, signal.SIG_IGN)

from feedd.reader.process import main  # noqa: E402

sys.exit(main())
