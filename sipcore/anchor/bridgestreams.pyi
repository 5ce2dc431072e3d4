class BridgeStreams:
    closed: bool
