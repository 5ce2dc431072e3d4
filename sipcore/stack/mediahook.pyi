class MediaHook:
    reason: bytes
    headers: bytes
