"""`python -m proxy` is `sipedge`."""
import signal
import sys


def main() -> None:
    """The entry point of `sipedge`."""
    if sys.argv[1:2] == ["run"]:
        # What comes before the supervisor has its handlers waits for them: a reload must not end it, and a Ctrl-C ends
        # it as it does later. Loading takes long enough to be met in.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    from proxy.cli import main as run

    run()


if __name__ == "__main__":
    main()
