"""A statement sent as a form: how clients send parameters that are too long for a URL. Pure."""

from email.parser import BytesParser
from email.policy import HTTP
from typing import NamedTuple


class Form(NamedTuple):
    """A statement, and the values of its parameters in ClickHouse's escaped text."""

    query: bytes
    parameters: dict[str, str]


class NotOurs(Exception):
    """A form that cannot be read, or holds what is not understood here; the message is one line."""


def is_form(content_type: str) -> bool:
    """Whether a body of this Content-Type is a form."""
    return content_type.lower().startswith("multipart/form-data")


def read(content_type: str, body: bytes) -> Form:
    """The fields of a form. Raises NotOurs; tables sent along as files (external data) are among what is not ours."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: %s\r\n\r\n%s" % (content_type.encode(), body))
    if not message.is_multipart():
        raise NotOurs("the body is not the form that its Content-Type announces")
    fields: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None or not (name == "query" or str(name).startswith("param_")):
            raise NotOurs(f"of forms only query and param_… are understood, not {name!r}")
        fields[str(name)] = bytes(part.get_payload(decode=True) or b"")
    try:
        named = {name.removeprefix("param_"): value.decode() for name, value in fields.items() if name != "query"}
    except UnicodeDecodeError:
        raise NotOurs("a parameter in the form is not UTF-8") from None
    return Form(fields.get("query", b""), named)
