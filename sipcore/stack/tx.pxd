"""The head of a transaction: 128 bytes in a slab, addressed by our branch, never moved.

One head holds both sides of a forwarded request: the server transaction towards the sender and the client
transaction towards its one target. Where a verdict names several targets, the head has the server side alone,
because both sides' timers may then run at once, and each target has a head of its own (ROLE_ATTEMPT); so has a
CANCEL that we send. Message bytes live in pool buffers beside the head and go when they are done
with; a head that only lingers (Timers D, H, I, J, K, L, M) has none, except a final response that must be sent
again.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address

cdef enum ServerState:      # RFC 3261 17.2, RFC 6026
    SERVER_NONE = 0
    SERVER_TRYING           # nothing but 100 was sent
    SERVER_PROCEEDING       # a provisional response was sent
    SERVER_COMPLETED        # a final response was sent; for INVITE not 2xx
    SERVER_CONFIRMED        # INVITE: the ACK has come
    SERVER_ACCEPTED         # INVITE: a 2xx was sent
    SERVER_TERMINATED

cdef enum ClientState:      # RFC 3261 17.1, RFC 6026
    CLIENT_NONE = 0
    CLIENT_CALLING          # non-INVITE: Trying
    CLIENT_PROCEEDING
    CLIENT_COMPLETED
    CLIENT_ACCEPTED
    CLIENT_TERMINATED

cdef enum Role:
    ROLE_FREE = 0
    ROLE_PROXY              # server side of a forwarded request, and its client side where it has one target
    ROLE_ATTEMPT            # client side of one of several targets; `key` is its owner's generation and slot
    ROLE_CANCEL             # client side of a CANCEL that we sent; `link` is the head whose INVITE it cancels
    ROLE_UAS                # server side alone: a user agent answers
    ROLE_UAC                # client side alone: a user agent asked

cdef enum TxFlag:
    TX_HASHED = 1           # stands in the table of server transactions
    TX_CANCELLED = 2        # a CANCEL came (server side) or is wanted (client side)
    TX_CANCEL_SENT = 4
    TX_SENT_100 = 8         # no INVITE: its sender was told that we are waiting
    TX_GAVE_UP = 16         # try_timeout passed: the search went on without this attempt
    TX_OVERTIME = 32        # Timer C fired: CANCEL was sent and the answer is awaited
    TX_MEDIA = 64           # INVITE, UPDATE or PRACK of a dialog whose media is anchored
    TX_REFER = 128          # its dialog's record follows what becomes of it
    TX_BEGINS = 256         # the INVITE that began the record's dialog
    TX_ENDS = 512           # the BYE that ends it
    TX_HEARD = 1024         # no INVITE: answered provisionally within try_timeout, so no other target is tried
    TX_LARGE_REQUEST = 2048     # the short message stands in a medium buffer: the pool had no small one
    TX_LARGE_RESPONSE = 4096
    TX_PROBE = 16384        # ROLE_UAC: its handler alone judges what it says of the target
    TX_HEARD_OF = 32768     # an answer was told to who judges the target
    TX_BEGUN = 8192         # ROLE_UAS: a request without To tag; `target` holds the hash that merged ones share

cdef enum:
    NO_TX = 0xFFFFFFFF
    NO_RECORD = 0xFFFFFFFF

cdef struct Tx:
    uint64_t key            # keyed hash that a retransmission, an ACK or a CANCEL is matched by
    uint64_t next           # ms: next retransmission (A, E, G), 0 for none
    uint64_t until          # ms: when this state ends (B, C, F, H, or the try_timeout), 0 for none
    Address source          # responses go here (RFC 3261 18.2.2, RFC 3581); ROLE_UAC: where the ACK to a 2xx went
    Address target          # the request went here; ROLE_UAS: see TX_BEGUN
    uint8_t* request        # as it was sent; as it was received where this head has no client side
    uint8_t* response       # as it was last sent; ROLE_UAC: the ACK to a 2xx
    void* context           # Search (proxy, more than one target); ROLE_UAC: Handler of late 2xx; a reference is held
    uint32_t hash_next      # next head of the same table bucket
    uint32_t generation     # low 24 bits stand in the branch
    uint32_t record         # dialog record of TX_BEGINS, TX_ENDS, TX_REFER and TX_MEDIA, or NO_RECORD
    uint32_t link           # ROLE_CANCEL: the head it cancels; else the ROLE_CANCEL head, or NO_TX
    uint16_t request_n
    uint16_t response_n
    uint16_t interval       # ms between retransmissions, doubling
    uint16_t flags          # TxFlag
    uint16_t ring           # s: Timer C of this INVITE, 0 for the layer's
    uint8_t listener_in
    uint8_t listener_out
    uint8_t server          # ServerState
    uint8_t client          # ClientState
    uint8_t method          # Method
    uint8_t role            # Role

cdef struct TimerValues:    # ms (RFC 3261 table 4)
    uint32_t t1
    uint32_t t2
    uint32_t t4
    uint32_t c


# What the layer has to do after a step of a state machine.
cdef enum Step:
    STEP_NONE = 0
    STEP_RESEND_REQUEST = 1
    STEP_RESEND_RESPONSE = 2
    STEP_PASS = 4           # hand the message to the core
    STEP_ACK = 8            # acknowledge a final response that is no 2xx (17.1.1.3)
    STEP_TIMEOUT = 16       # tell the core that no answer came
    STEP_LINGER = 32        # keep the head for 64*T1 and free it then
    STEP_TRYING_100 = 64    # RFC 4320 4.2: a non-INVITE answers 100 when its retransmissions reach T2
