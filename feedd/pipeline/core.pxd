"""Messages in, records out: the one path that the live reader and ``feedd decode`` share."""

from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.message cimport Messages


cdef class Pipeline(Messages):
    cdef instrument_t* _find(self, int venue, str symbol) except NULL
