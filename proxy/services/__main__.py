"""`python -m proxy.services DESCRIPTOR`, started by the supervisor with a control socket on that descriptor."""
import signal


def main() -> None:
    """Ignore what is the supervisor's business before anything is loaded."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    from .process import main as serve

    serve()


if __name__ == "__main__":
    main()
