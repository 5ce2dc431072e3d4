from sipcore.stack.seeking import Seeking

class Controlling(Seeking):
    draining: bool
