"""The corpus: documentation strings of the standard library, as `pydoc` would show them."""

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

MODULES = (
    "abc", "argparse", "array", "asyncio", "base64", "bisect", "calendar", "codecs", "collections",
    "concurrent.futures", "configparser", "contextlib", "contextvars", "copy", "csv", "dataclasses", "datetime",
    "decimal", "difflib", "email", "enum", "fileinput", "fnmatch", "fractions", "functools", "gc", "getpass",
    "glob", "graphlib", "gzip", "hashlib", "heapq", "hmac", "html", "http.client", "inspect", "io", "ipaddress",
    "itertools", "json", "linecache", "locale", "logging", "math", "mimetypes", "multiprocessing", "operator", "os",
    "os.path", "pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "sched", "secrets", "select",
    "shelve", "shlex", "shutil", "signal", "socket", "sqlite3", "ssl", "statistics", "string", "struct",
    "subprocess", "sys", "tarfile", "tempfile", "textwrap", "threading", "time", "timeit", "tokenize", "traceback",
    "types", "typing", "unicodedata", "unittest", "urllib.parse", "urllib.request", "uuid", "warnings", "weakref",
    "xml.etree.ElementTree", "zipfile", "zlib",
)  # fmt: skip


@dataclass(frozen=True)
class Document:
    """One documentation string. `id` is the dotted name it documents."""

    id: str
    text: str


def load(modules: tuple[str, ...] = MODULES) -> list[Document]:
    """Every documented public name of `modules`: about 3,000 documents, each once."""
    documents: dict[str, Document] = {}
    for name in modules:
        for document in _of_module(name, importlib.import_module(name)):
            documents.setdefault(document.id, document)
    return list(documents.values())


def _of_module(name: str, module: ModuleType) -> Iterator[Document]:
    if text := inspect.getdoc(module):
        yield Document(name, text)
    for member, value in _public(module):
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        if text := inspect.getdoc(value):
            yield Document(f"{name}.{member}", text)
        if inspect.isclass(value):
            yield from _of_class(f"{name}.{member}", value)


def _of_class(name: str, cls: type) -> Iterator[Document]:
    for member, value in vars(cls).items():
        if member.startswith("_") or not (inspect.isroutine(value) or isinstance(value, property)):
            continue
        if text := inspect.getdoc(value):
            yield Document(f"{name}.{member}", text)


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        value = getattr(module, name, None)
        if value is not None and not isinstance(value, ModuleType):
            yield name, value
