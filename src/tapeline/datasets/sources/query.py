"""The keys of a dataset whose rows come from one table, or from one query of a database."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from tapeline.config import schema


def _one_password(file: str | None, info: ValidationInfo) -> str | None:
    if file and info.data.get("password_env"):
        raise ValueError("must be null if dataset.password_env is set")
    return file


PasswordFile = Annotated[str | None, AfterValidator(_one_password)]
"""The file that holds a password, in a section that has password_env above it; one of the two is set."""


class Section(schema.Dataset):
    """The keys that the source `sql` reads."""

    url: str | None
    """A database URL in the form of SQLAlchemy, without password."""
    query: str | None
    """The SQL query for all rows, with the columns of the file."""
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None
    """The environment variable that holds the password for `url`."""
    password_file: PasswordFile
    """Or the file that holds it, such as a mounted Secret."""
