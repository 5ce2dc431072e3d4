class Connections:
    capacity: int
    live: int
    def __init__(self, capacity: int) -> None: ...
