"""One WebSocket connection: picows frames -> messages -> sink, without a Python object per message.

Threading rule: everything runs in the event loop's thread. picows keeps delivering frames after a
protocol error of its own until its delayed disconnect, so the line has a latch: once a violation
was seen by picows or by the assembler, nothing reaches the sink any more. Pings are answered here
and not by picows, for two reasons: picows does not deliver the frames that it answers, so the last
frame of a read could be missed and its records never published; and a ping flood must not spend
the messages that the venue allows.
"""

import logging

import picows

from libc.stdint cimport int64_t, uint8_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from picows.picows cimport WSCloseCode, WSFrame, WSMsgType, WSTransport

from feedd.decode.assembler cimport ASM_CLOSE, ASM_MESSAGE, ASM_NOTHING, Assembler

from feedd.reader.picows_version import check_picows

cdef extern from *:
    """
    #ifndef FEEDD_PICOWS_VERSION
    #define FEEDD_PICOWS_VERSION ""
    #endif
    """
    const char* FEEDD_PICOWS_VERSION

COMPILED_PICOWS = FEEDD_PICOWS_VERSION.decode()
check_picows(COMPILED_PICOWS, picows.__version__)

log = logging.getLogger("feedd.reader.line")

cdef size_t TEXT_BYTES_MAX = 32
cdef size_t HEARD_BYTES_MAX = 1024     # of a message that the decoder has no channel for


cdef inline int64_t _wall_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef class Sink:
    """Where messages go. Subclass in Cython; the base ignores everything."""

    cdef int message(self, const uint8_t* p, size_t n, int64_t ts_recv, bint binary) noexcept nogil:
        return SINK_IGNORED

    cdef void flush(self) noexcept nogil:
        pass


cdef class CollectSink(Sink):
    """Gives each message to a Python callable ``(data, ts_recv, binary) -> int``: tests, echo."""

    cdef object _call
    cdef object _flush
    cdef readonly object error

    def __init__(self, call, flush=None):
        self._call = call
        self._flush = flush

    cdef int message(self, const uint8_t* p, size_t n, int64_t ts_recv, bint binary) noexcept nogil:
        with gil:
            try:
                return self._call(bytes(p[:n]), ts_recv, bool(binary))
            except Exception as exc:
                self.error = exc
                log.exception("a message handler failed")
                return SINK_BAD

    cdef void flush(self) noexcept nogil:
        with gil:
            if self._flush is not None:
                try:
                    self._flush()
                except Exception as exc:
                    self.error = exc
                    log.exception("a flush handler failed")


cdef class Line(WSListener):
    """A picows listener. ``owner`` gets ``on_control(line, data)``, ``on_end(line, reason)`` and
    ``on_ignored(line, data)`` for short messages that the sink has no use for.

    ``pongs_max`` bounds the answers to the peer's pings per second; of the pings beyond it the
    newest is answered at the next ``tick`` (RFC 6455 section 5.5.3 allows that). 0: no bound.
    ``texts`` are whole messages that are no JSON and no data ("pong"): the sink never sees them.
    """

    def __init__(self, Sink sink not None, owner, Assembler assembler not None, int pongs_max=0,
                 frozenset texts=frozenset()):
        self.sink = sink
        self.owner = owner
        self.assembler = assembler
        self._pongs_max = pongs_max
        self._texts = texts
        assembler.restart()

    cpdef on_ws_connected(self, WSTransport transport):
        self.transport = transport

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef int64_t now = _wall_ns()
        cdef int result, kind
        cdef Assembler assembler = self.assembler
        self.frames += 1
        self.received_bytes += frame.payload_size
        self.last_recv_ns = now
        if assembler.dead:
            self.late += 1
        elif transport.is_close_frame_sent and not self._leaving:
            assembler.dead = True  # picows found a violation; this frame came after it
            self.violations += 1
            self.late += 1
        else:
            result = assembler.feed(
                frame.msg_type, frame.fin, frame.rsv1 << 2 | frame.rsv2 << 1 | frame.rsv3,
                <const uint8_t*>frame.payload_ptr, frame.payload_size)
            if result == ASM_MESSAGE:
                self.binaries += assembler.binary
                if self._is_text(assembler):
                    kind = SINK_CONTROL
                else:
                    kind = self.sink.message(assembler.data, assembler.size, now, assembler.binary)
                if kind == SINK_DATA:
                    self.data += 1
                    self.last_data_ns = now
                elif kind == SINK_CONTROL:
                    self.control += 1
                    self.owner.on_control(self, bytes(assembler.data[:assembler.size]))
                elif kind == SINK_BAD:
                    self.bad += 1
                else:
                    self.ignored += 1
                    if assembler.size <= HEARD_BYTES_MAX:
                        self.owner.on_ignored(self, bytes(assembler.data[:assembler.size]))
            elif result == ASM_NOTHING:
                if frame.msg_type == WSMsgType.PING:
                    self._ping(transport, frame.get_payload_as_bytes(), now)
                elif frame.msg_type == WSMsgType.PONG:
                    self.pongs += 1
            elif result == ASM_CLOSE:
                self._close(transport)
            else:
                self._violation(transport)
        if frame.last_in_buffer:
            self.sink.flush()

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.sink.flush()
        self.transport = None
        self.owner.on_end(self)

    cpdef pause_writing(self):
        self.owner.on_pause(self)

    cpdef resume_writing(self):
        pass

    cdef bint _is_text(self, Assembler assembler):
        """One of the venue's texts that are no JSON; no data message is that short."""
        if assembler.size > TEXT_BYTES_MAX or not self._texts:
            return False
        return assembler.data[:assembler.size] in self._texts

    cdef void _ping(self, WSTransport transport, bytes payload, int64_t now):
        cdef int64_t second = now // 1000000000
        if second != self._pong_second:
            self._pong_second = second
            self._pongs_window = 0
        if self._pongs_max and self._pongs_window >= self._pongs_max:
            self._held_ping = payload
            self.pongs_held += 1
            return
        self._pongs_window += 1
        self._held_ping = None
        self.pongs_sent += 1
        transport.send_pong(payload)

    cdef void _violation(self, WSTransport transport):
        self.violations += 1
        self.close_code = self.assembler.code
        self._leaving = True
        transport.send_close(<WSCloseCode>self.assembler.code)
        transport.disconnect()

    cdef void _close(self, WSTransport transport):
        """The peer's close frame: answer with its code (RFC 6455 section 5.5.1) and leave."""
        cdef int code = self.assembler.code
        self.close_code = code
        if not transport.is_close_frame_sent:
            transport.send_close(<WSCloseCode>(1000 if code == 1005 else code))
        self._leaving = True
        transport.disconnect()

    # -- from the owner ------------------------------------------------------------------------

    def send(self, bytes data not None):
        """One text message; ignored when the connection is gone."""
        if self.transport is not None and not self._leaving:
            self.transport.send(WSMsgType.TEXT, data)

    def ping(self, bytes payload not None):
        if self.transport is not None and not self._leaving:
            self.transport.send_ping(payload)

    def close(self, int code):
        """Send a close frame, then end the connection; nothing is delivered any more."""
        if self.transport is not None:
            self._leaving = True
            self.assembler.dead = True
            if not self.transport.is_close_frame_sent:
                self.transport.send_close(<WSCloseCode>code)
            self.transport.disconnect()

    def abort(self):
        """End the connection at once."""
        if self.transport is not None:
            self._leaving = True
            self.assembler.dead = True
            self.transport.disconnect(False)

    def tick(self):
        """Answer the newest ping that had to wait."""
        if self._held_ping is not None and self.transport is not None and not self._leaving:
            self._ping(self.transport, self._held_ping, _wall_ns())

    @property
    def activity(self):
        """(frames, data, pongs, pongs_sent): what the session's ``tick`` wants."""
        return self.frames, self.data, self.pongs, self.pongs_sent

    @property
    def violation(self):
        """What the peer did wrong, for people; empty when nothing."""
        return self.assembler.violation

    @property
    def connected(self):
        return self.transport is not None
