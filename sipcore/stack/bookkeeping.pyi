from sipcore.stack.record import Records
from sipcore.stack.targettable import TargetTable
from sipcore.stack.useragent import UserAgent

class Bookkeeper(UserAgent):
    records: Records
    targets: TargetTable
    def end_silent(self, record_slot: int, generation: int, now: int) -> bool: ...
    def calls(self, upstream: int) -> int: ...
    def finish(self, now: int) -> bool: ...
