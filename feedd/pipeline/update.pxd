"""One book message, checked and converted."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_level
from feedd.pipeline.instrument cimport rowkey_t
from feedd.pipeline.output cimport stamp_t

# One book message, checked and converted, not yet applied.
ctypedef struct update_t:
    uint64_t first, current   # FEEDD_NO_SEQUENCE where the policy has no numbers
    int64_t previous
    uint8_t has_previous
    uint8_t has_current
    uint8_t snapshot
    uint8_t has_checksum      # the message carries one that counts
    int64_t checksum
    const rowkey_t* keys      # of bids, then asks; NULL unless the policy is keyed
    int32_t channel           # channel of the stream (program_t.stream)
    uint64_t topic
    stamp_t stamp
    const fd_level* bids
    const fd_level* asks
    uint32_t n_bid, n_ask
