"""The errors that people see: one line that says what, where, and what to do."""


class WatchdogError(Exception):
    """Root of our errors; the command line prints it in one line and exits with 2."""

    def in_one_line(self) -> str:
        """Return what the command line prints: the message, or its gist where the message has many lines."""
        return str(self)


class SourceError(WatchdogError):
    """An input cannot be read: missing, torn, of another format, or its syntax is wrong."""


class RuleError(WatchdogError):
    """A rule set cannot be used."""


class StateError(WatchdogError):
    """A checkpoint, a position in a source or a recording: does not fit, fails its checksum, or cannot be written."""


class PositionError(SourceError, StateError):
    """A resume position in a checkpoint or a recording is damaged or of another form."""


class StoreError(WatchdogError):
    """A database cannot be used, and waiting will not help: damaged, of another version, or of another program."""


class StoreUnavailableError(StoreError):
    """The database does not take it now (locked, full, gone); nothing was written, another try may succeed."""


class ServiceError(WatchdogError):
    """A service cannot do it: a part of it has failed, it is far behind, another one runs here, or none does."""


class SecretError(WatchdogError):
    """A secret or a key cannot be used; the message never shows it."""
