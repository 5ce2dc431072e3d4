from sipcore.stack.handler import Handler
from sipcore.stack.layer import Layer
from sipcore.stack.useragent import UserAgent

class Transaction:
    agent: UserAgent
    listener: int
    status: int
    handler: Handler

class Holding(Layer):
    troubles: list[str]
    @property
    def time(self) -> int: ...
    def take_troubles(self) -> list[str]: ...
    def new_tag(self) -> str: ...
    def new_call_id(self) -> str: ...
