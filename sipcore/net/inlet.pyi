from sipcore.net.outlet import Outlet

class Inlet(Outlet):
    untold: int
