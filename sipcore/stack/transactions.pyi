from sipcore.base.linger import Linger
from sipcore.base.outbox import Outbox
from sipcore.base.pool import Pool
from sipcore.base.wheel import Wheel
from sipcore.stack.identity import Identity

class Transactions:
    identity: Identity
    wheel: Wheel
    linger: Linger
    pool: Pool
    outbox: Outbox
    capacity: int
    live: int
    def __init__(
        self,
        identity: Identity | None = None,
        *,
        transactions: int = ...,
        memory: int = ...,
        t1: int = ...,
        t2: int = ...,
        t4: int = ...,
        timer_c: int = ...,
    ) -> None: ...
