from sipcore.stack.pathlimits import PathLimits
from sipcore.stack.way import Wayfinding

class Sizing(Wayfinding):
    paths: PathLimits | None
