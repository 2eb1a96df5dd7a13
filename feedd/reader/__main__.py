"""``python -m feedd.reader``: the reader process (started by the supervisor)."""

import sys

from feedd.reader.process import main

sys.exit(main())
