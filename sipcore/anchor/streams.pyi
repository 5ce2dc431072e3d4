from sipcore.media.relay import MediaRelay
from sipcore.stack.mediahook import MediaHook

class Streams(MediaHook):
    relay: MediaRelay
    capacity: int
    def __init__(self, relay: MediaRelay, calls: int = ...) -> None: ...
