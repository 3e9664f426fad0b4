"""The errors that people see: one line that says what, where, and what to do."""


class WatchdogError(Exception):
    """Root of our errors; the command line prints it in one line and exits with 2."""

    def in_one_line(self) -> str:
        """What the command line prints: the message, or its gist where the message has many lines."""
        return str(self)


class SourceError(WatchdogError):
    """An input cannot be read: missing, torn, of another format, or its syntax is wrong."""


class RuleError(WatchdogError):
    """A rule set cannot be used."""


class StateError(WatchdogError):
    """A checkpoint or a recording does not fit, or fails its checksum."""
