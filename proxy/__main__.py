"""`python -m proxy` is `sipedge`."""
from proxy.cli import main

main()
