"""The configuration: decoded, or refused with lines; what is accepted can be run."""
from pathlib import Path

from tests.fuzz import harness

with harness.instrumented("proxy"):
    from proxy.admission import admission
    from proxy.config import ConfigError, decode
    from proxy.policy.engine import Policy
    from proxy.policy.validate import problems_of

ROOT = Path(__file__).resolve().parents[2]


def target(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        config = decode(text, problems_of, file="edge.toml")
    except ConfigError as error:
        assert error.problems
        # TOML counts lines by LF; a problem of the whole file has none.
        assert all(0 <= problem.line <= text.count("\n") + 1 for problem in error.problems)
        assert str(error).startswith("edge.toml")
        return
    Policy(config)
    if config.limits.sources <= 1 << 16:
        admission(config)


SEEDS = [path.read_bytes() for path in (ROOT / "proxy/default.toml", ROOT / "benchmarks/seats/signalling.toml")]
SEEDS += [b"[[" + table for seed in SEEDS for table in seed.split(b"\n[[")[1:]]

if __name__ == "__main__":
    harness.run(target, SEEDS)
