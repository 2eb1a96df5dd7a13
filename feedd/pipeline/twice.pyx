"""Both ways of decoding a message side by side, for tests: by the walker, and by templates."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from feedd.decode.engine cimport (
    FD_AVX2, FD_AVX512, FD_OK, FD_PORTABLE, fd_msg, fd_msg_free, fd_outcome,
    fd_outcome_free,
    fd_outcome_of, fd_plain_holds, fd_same_outcome, fd_templates,
)
from feedd.decode.native cimport decode
from feedd.decode.plan cimport Plan
from feedd.pipeline.connections cimport Connections

from feedd.pipeline import control

SETS = {"portable": FD_PORTABLE, "avx2": FD_AVX2, "avx512": FD_AVX512}


cdef class Twice:
    cdef Plan plan
    cdef Connections connections
    cdef fd_templates* templates
    cdef fd_msg walked
    cdef fd_msg m

    def __cinit__(self, Plan plan not None, str isa=""):
        memset(&self.walked, 0, sizeof(fd_msg))
        memset(&self.m, 0, sizeof(fd_msg))
        self.plan = plan
        self.connections = Connections()
        self.templates = plan.plan.templates
        self.walked.plan = self.m.plan = &plan.plan
        if isa:
            if SETS[isa] > self.templates.isa:
                raise ValueError(f"this processor has no {isa}")
            self.templates.isa = SETS[isa]

    def __dealloc__(self):
        fd_msg_free(&self.walked)
        fd_msg_free(&self.m)

    @property
    def isa(self):
        return next(name for name, isa in SETS.items() if isa == self.templates.isa)

    @property
    def hits(self):
        return self.templates.hits

    @property
    def learned(self):
        return self.templates.learned

    @property
    def layout_hits(self):
        return self.templates.layouts.hits

    @property
    def layouts(self):
        return self.templates.layouts.learned

    def hear(self, bytes message not None):
        if self.plan.learn is not None:
            for number, topic in control.hear(self.plan.learn, {}, message).topics:
                self.connections.learn(0, number, topic)
        self.walked.learned = self.m.learned = self.connections.learned
        self.walked.learned_mask = self.m.learned_mask = self.connections.learned_mask

    def differ(self, bytes message not None):
        cdef fd_outcome outcome
        cdef const uint8_t* p = <const uint8_t*><const char*>message
        cdef int walked, run
        self.plan.plan.templates = NULL
        walked = decode(&self.walked, p, len(message))
        self.plan.plan.templates = self.templates
        run = decode(&self.m, p, len(message))
        if walked != run:
            return f"status {run}, walker {walked}"
        if walked != FD_OK:
            return ""
        if self.walked.channel != self.m.channel:
            return f"channel {self.m.channel}, walker {self.walked.channel}"
        if self.m.channel < 0:
            return ""
        if not fd_outcome_of(&outcome, &self.walked):
            raise MemoryError
        same = fd_same_outcome(&outcome, &self.m)
        fd_outcome_free(&outcome)
        if not same:
            return "values or levels"
        return "" if fd_plain_holds(&self.m) else "a number read by the template"
