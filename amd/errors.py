"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake in an input or a parameter: one line that names it, says what is wrong and what to do.

    Commands print it on stderr without a traceback and exit with status 2.
    """
