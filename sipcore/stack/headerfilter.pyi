from collections.abc import Iterable

class HeaderFilter:
    names: tuple[str, ...]
    def __init__(self, names: Iterable[str] = ()) -> None: ...
