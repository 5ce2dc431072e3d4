from benchmarks.load.connection import Connections
from benchmarks.load.uac import Uac
from benchmarks.load.uas import Uas

class Generator:
    def __init__(
        self,
        uac: Uac | None,
        uac_way: int | Connections | None,
        uas: Uas | None,
        uas_way: int | Connections | None,
        *,
        rate: float,
        window: int,
        calls: int,
        duration: float,
        loss: float,
        seed: int,
        spin: bool,
    ) -> None: ...
    def stop(self) -> None: ...
    def run(self) -> dict[str, object]: ...
