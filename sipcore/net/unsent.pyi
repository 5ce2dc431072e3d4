class Unsent:
    n: int
