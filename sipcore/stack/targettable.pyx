"""What the stack knows of the configured targets, so that whoever judges their health hears what matters, and no more.

A target has a number while it is configured or has calls. Of one that is as it should be, only failures are told: its
answers cost a comparison. Who judges says which ones are suspect; their answers are told as well.

A retry budget stands for each upstream: every call earns a share of a further try, a few a second come by themselves,
and each failover takes one. An upstream that fails as a whole so gets at most that share of calls more, instead of
every call once for each target. The table takes 80 KiB.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from sipcore.base.address cimport Address
from sipcore.stack.verdict cimport Target


cdef inline uint32_t _place(const Address* a) noexcept nogil:
    """Where in the table an address is looked for first. Not keyed: the addresses are the configuration's."""
    cdef uint64_t first, second
    cdef uint64_t h = <uint64_t>a.port << 8 | a.transport
    memcpy(&first, a.ip, 8)
    memcpy(&second, a.ip + 8, 8)
    h = (h ^ first) * <uint64_t>0x9E3779B97F4A7C15
    h = (h ^ second ^ h >> 29) * <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(h >> 40) & (PLACES - 1)


cdef inline bint _is_same(const Address* a, const Address* b) noexcept nogil:
    """Same host, port and transport. What a connection is made with besides (Address.scope) is not the target's."""
    return (a.port == b.port and a.transport == b.transport and a.family == b.family
            and memcmp(a.ip, b.ip, 4 if a.family == 4 else 16) == 0)


cdef class TargetTable:
    """told: called as told(number, status, retry_after) for each failure of a target, and for answers of suspect ones.

    status: 0 for silence, -1 for unreachable. retry_after: the value of a 503's Retry-After, empty where there is
    none.
    """

    def __cinit__(self):
        memset(self.cells, 0, sizeof(self.cells))
        memset(self.places, 0, sizeof(self.places))
        self.renumber(())

    def use(self, targets):
        """These Targets are configured from now on, and no others; the number of each, 0 where there are too many.

        Targets with the same address share a number. One that goes keeps its own until its last call has ended.
        """
        cdef Target target
        cdef uint16_t number, fresh = 1
        cdef Cell* cell
        for number in range(1, MAX_TARGETS + 1):
            self.cells[number].known = False
        for target in targets:
            self.cells[self.find(&target.address)].known = True
        self.suspects = 0
        for number in range(1, MAX_TARGETS + 1):
            cell = &self.cells[number]
            if not cell.known:
                cell.suspect = False
                if cell.calls == 0:
                    memset(cell, 0, sizeof(Cell))
            self.suspects += cell.suspect
        self._index()
        numbers = []
        for target in targets:
            number = self.find(&target.address)
            while number == 0 and fresh <= MAX_TARGETS:
                if not self.cells[fresh].used:
                    number = fresh
                    self.cells[number].address = target.address
                    self.cells[number].used = self.cells[number].known = True
                    self._enter(number)
                fresh += 1
            numbers.append(number)
        return numbers

    def calls(self, uint32_t number):
        """Calls in progress of a target."""
        return self.cells[number].calls if number <= MAX_TARGETS else 0

    def begun(self, uint32_t number):
        """Calls that a target was ever sent, modulo 2**32."""
        return self.cells[number].begun if number <= MAX_TARGETS else 0

    def suspect(self, uint32_t number, bint on):
        """Tell its answers too, or no longer."""
        if 0 < number <= MAX_TARGETS and self.cells[number].used and self.cells[number].suspect != on:
            self.cells[number].suspect = on
            self.suspects = self.suspects + 1 if on else self.suspects - 1

    def limit_retries(self, int upstream, uint32_t share, uint32_t rate, uint32_t burst):
        """The retry budget of an upstream: share in thousandths of its calls (1000: no limit), and rate a second that
        are allowed anyway; at most burst at once."""
        cdef RetryBudget* budget
        if not 0 <= upstream < MAX_UPSTREAMS:
            raise ValueError(f"no upstream has the number {upstream}")
        budget = &self.budgets[upstream]
        if budget.share >= 1000:
            budget.left = <uint64_t>burst * 1000
        budget.share = share
        budget.rate = rate
        budget.most = <uint64_t>burst * 1000
        budget.left = min(budget.left, budget.most)

    def renumber(self, numbers):
        """Retry budgets follow their upstreams. numbers: the index of each from now on, -1: it is gone."""
        cdef RetryBudget before[MAX_UPSTREAMS]
        cdef int i, number
        memcpy(before, self.budgets, sizeof(before))
        memset(self.budgets, 0, sizeof(self.budgets))
        for i in range(MAX_UPSTREAMS):
            self.budgets[i].share = 1000
        for i, number in enumerate(numbers[:MAX_UPSTREAMS]):
            if 0 <= number < MAX_UPSTREAMS:
                self.budgets[number] = before[i]

    def earn_retry(self, int upstream):
        """A call to an upstream begins that may need a further try."""
        self.earn(upstream)

    def allow_retry(self, int upstream, uint64_t now):
        """Take a further try from an upstream's budget at now (ms); whether there was one."""
        return self.may_retry(upstream, now)

    cdef uint16_t find(self, const Address* address) noexcept nogil:
        """The number of the target with that address, 0 for none."""
        cdef uint32_t place = _place(address)
        while self.places[place]:
            if _is_same(&self.cells[self.places[place]].address, address):
                return self.places[place]
            place = (place + 1) & (PLACES - 1)
        return 0

    cdef void earn(self, int upstream) noexcept nogil:
        """A call to an upstream begins that may need a further try."""
        cdef RetryBudget* budget
        if 0 <= upstream < MAX_UPSTREAMS:
            budget = &self.budgets[upstream]
            budget.left = min(budget.left + budget.share, budget.most)

    cdef bint may_retry(self, int upstream, uint64_t now) noexcept nogil:
        """Take a further try; whether there was one."""
        cdef RetryBudget* budget
        if not 0 <= upstream < MAX_UPSTREAMS:
            return True
        budget = &self.budgets[upstream]
        if budget.share >= 1000:
            return True
        if now > budget.at:
            # Milliseconds times tries a second are thousandths of a try.
            budget.left = min(budget.left + min(now - budget.at, <uint64_t>1000000) * budget.rate, budget.most)
            budget.at = now
        if budget.left < 1000:
            return False
        budget.left -= 1000
        return True

    cdef void _enter(self, uint16_t number) noexcept nogil:
        """Enter a target into the hash table."""
        cdef uint32_t place = _place(&self.cells[number].address)
        while self.places[place]:
            place = (place + 1) & (PLACES - 1)
        self.places[place] = number

    cdef void _index(self) noexcept nogil:
        """Enter all that is used into the hash table anew."""
        cdef uint16_t number
        memset(self.places, 0, sizeof(self.places))
        for number in range(1, MAX_TARGETS + 1):
            if self.cells[number].used:
                self._enter(number)
