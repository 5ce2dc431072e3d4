from collections.abc import Callable

from sipcore.net.connections import Connections
from sipcore.net.unsent import Unsent

class Outlet:
    table: Connections
    epoll: int
    trace: Callable[[str, int, str, int, bytes], None] | None
    unsent: Unsent
