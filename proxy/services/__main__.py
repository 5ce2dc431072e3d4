"""`python -m proxy.services DESCRIPTOR`, started by the supervisor with a control socket on that descriptor."""
from .process import main

main()
