"""The access list as the stack uses it: one lookup by source address, before anything is parsed.

A listed source goes on with its group's number. From an unlisted one only what carries our own branch or token
will pass, and that at a limited rate; the rest costs a counter. From one of a denying group nothing passes.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from sipcore.base.address cimport Address, address_from
from sipcore.base.bucket cimport SourceLimiter, bucket_take
from sipcore.base.trie cimport Trie

from sipcore.wire.tables import METHODS

_DIALOG = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "NOTIFY", "REFER")
_ADMITTANCES = {"allow": ADMIT_LISTED, "deny": ADMIT_SILENT, "forbid": ADMIT_FORBID}


cdef uint16_t _bits(names) except? 0xFFFF:
    """One bit a Method; a method without a number stands for all such: the policy tells them apart by name."""
    cdef uint16_t bits = 0
    for name in names:
        bits |= <uint16_t>(1 << (METHODS.index(name) if name in METHODS else 0))
    return bits


cdef class Admission:
    """Groups by number, one prefix trie a listener (its values are group numbers).

    unlisted: "deny" (no answer) or "forbid" (403). unlisted_rate: messages/s from one unlisted source that are
    looked at, those that a transaction of ours waited for not counted. answer_rate: 403 a second to everybody
    together. sources: how many addresses a limit remembers.
    """

    def __init__(self, tries, *, str unlisted="deny", int unlisted_rate=50, int unlisted_burst=100,
                 unlisted_dialog_methods=_DIALOG, int answer_rate=10, int sources=65536):
        self.tries = list(tries)
        for trie in self.tries:
            if not isinstance(trie, Trie):
                raise TypeError(f"not a Trie: {trie!r}")
        memset(self.found, 0xFF, sizeof(self.found))
        self.limiters = []
        if unlisted not in ("deny", "forbid"):
            raise ValueError(f"unlisted sources are met with deny or forbid, not {unlisted!r}")
        self.unlisted_admittance = _ADMITTANCES[unlisted]
        self.unlisted = SourceLimiter(unlisted_rate, unlisted_burst, sources)
        self.unlisted_dialog_methods = _bits(unlisted_dialog_methods)
        self.answer_rate = <uint32_t>answer_rate
        self.sources = sources

    def add_group(self, str action not None="allow", methods=(), *, dialog_methods=_DIALOG, int rate=0, int burst=0,
                  int group_rate=0, int group_burst=0, bint trusted=False):
        """Add the next group; returns its number.

        methods: names of what it may begin outside a dialog, dialog_methods: of what it may send inside one. rate:
        requests/s of one source, group_rate: of all its sources together; 0 for no limit.
        """
        cdef GroupRule* rule
        if self.groups == MAX_GROUPS:
            raise ValueError(f"more than {MAX_GROUPS} groups")
        rule = &self.rules[self.groups]
        rule.admittance = _ADMITTANCES[action]
        rule.trusted = trusted
        rule.methods = _bits(methods)
        rule.dialog_methods = _bits(dialog_methods)
        rule.rate = <uint32_t>group_rate
        rule.burst = <uint32_t>(group_burst if group_burst else 2 * group_rate)
        memset(self.found, 0xFF, sizeof(self.found))
        self.limiters.append(SourceLimiter(rate, burst if burst else 2 * rate, self.sources) if rate else None)
        self.groups += 1
        return self.groups - 1

    cdef int group_of(self, uint32_t listener, const Address* address) noexcept:
        """The group of an address on a listener, -1 for none. The same few are asked for again and again: every message
        has a source and a target."""
        cdef int64_t value
        cdef Found* found = &self.found[address.ip[3] & (FOUND - 1)]
        if found.listener == listener and memcmp(found.ip, address.ip, 16) == 0 and found.family == address.family:
            return found.group
        if listener >= <uint32_t>len(self.tries):
            return -1
        value = (<Trie>self.tries[listener]).find(address)
        found.listener = listener
        found.family = address.family
        memcpy(found.ip, address.ip, 16)
        found.group = <int>value if value < self.groups else -1
        return found.group

    cdef int admit(self, uint32_t listener, const Address* source, int* group) noexcept:
        """The Admittance of a packet; group gets the group's number, or -1."""
        group[0] = self.group_of(listener, source)
        if group[0] >= 0:
            return self.rules[group[0]].admittance
        return ADMIT_UNLISTED

    cdef bint may_begin(self, int group, const Address* source, uint64_t now) noexcept:
        """Whether the limits let this source begin something now; takes a token of each."""
        cdef GroupRule* rule = &self.rules[group]
        cdef object limiter = self.limiters[group]
        if limiter is not None and not (<SourceLimiter>limiter).take(source, now):
            return False
        return rule.rate == 0 or bucket_take(&rule.bucket, now, rule.rate, rule.burst)

    cdef bint may_ask(self, int group, const Address* source, uint64_t now) noexcept:
        """Whether one more STUN request of this source is answered now. It counts as what the source begins, but not
        for its group: no call is refused because phones keep their mappings."""
        cdef object limiter = self.limiters[group]
        return limiter is None or (<SourceLimiter>limiter).take(source, now)

    cdef bint may_look(self, const Address* source, uint64_t now) noexcept:
        """Whether one more message of an unlisted source is looked at now."""
        return self.unlisted.take(source, now)

    cdef void has_proven(self, const Address* source) noexcept:
        """The message that was looked at last was one that the edge waited for: it does not count."""
        self.unlisted.give_back(source)

    cdef bint may_answer(self, uint64_t now) noexcept:
        """Whether one more 403 may be sent now to somebody whom the list refuses: the edge does not amplify."""
        return self.answer_rate > 0 and bucket_take(&self.answers, now, self.answer_rate, 2 * self.answer_rate)

    cdef uint32_t dialog_methods_of(self, int group) noexcept:
        return self.rules[group].dialog_methods if group >= 0 else self.unlisted_dialog_methods

    def group(self, str host not None, int listener=0):
        """The number of the group that an address is in, -1 for none; ValueError where it is no IP literal."""
        cdef Address address
        address_from(host, 0, &address)
        return self.group_of(<uint32_t>listener, &address)
