"""Runs under Python 2.7: Autobahn's fuzzing server 0.8.2 from a private directory."""

import site
import sys

site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run

run()
