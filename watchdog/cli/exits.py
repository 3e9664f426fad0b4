"""Exit codes of the commands."""

WRONG = 1  # what was asked about is not right: mistakes in rules, a test that was not delivered
BAD_INPUT = 2  # what was given cannot be used as a whole: arguments, files that are missing, unreadable or torn
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it
