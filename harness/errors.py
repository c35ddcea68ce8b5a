"""The one kind of error that a user can correct."""


class UserError(Exception):
    """A user has to correct something; the text says what is wrong, where, and what to do."""


class DeclarationError(UserError):
    """A declaration that cannot be used; the message says where, and what is wrong."""
