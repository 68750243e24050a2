"""What every test can count on."""

import signal

# A shell that starts a command in the background lets it ignore Ctrl-C, and so its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
