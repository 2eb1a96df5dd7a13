"""A disk that is as fast as the test lets it be: for the recorder, and for nothing else.

Python imports this in every process that has its folder in PYTHONPATH. In the recorder each byte
that goes to a capture file goes through a pipe first, whose other end the test reads. While it does
not, the pipe is full and the recorder blocks in write(2), inside the kernel, as it would on a disk
that does not answer.
"""

import os
import sys

_real = os.write
_PIECE = 4_096


def _write(fd, data):  # type: ignore[no-untyped-def]
    if os.fstat(fd).st_mode & 0o170000 == 0o100000:  # a regular file
        left = len(data)
        while left > 0:
            left -= _real(_gate, bytes(min(left, _PIECE)))
    return _real(fd, data)


if "feedd.capture.recorder" in getattr(sys, "orig_argv", ()):
    _gate = os.open(os.environ["FEEDD_TEST_GATE"], os.O_RDWR)
    os.write = _write
