from collections.abc import Iterable

def use_listeners(
    listeners: Iterable[tuple[str, int, str, int] | tuple[str, int, str, int, str]],
) -> None: ...
