"""Records of XML held against a schema (XSD): lxml does that."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lakehouse.autoloader.formats.xml_records import Record
from lakehouse.errors import ConfigurationError
from lakehouse.extras import needing
from lakehouse.storage.local_paths import local_key, mapped

OPTION = "rowValidationXSDPath"


def checked_by(path: str) -> Callable[[Record], str]:
    """What is wrong with a record by the XSD at a path of this machine; "" where nothing is.

    Raises:
        ConfigurationError: lxml is not installed, or there is no XSD.
    """
    return _checked_by(path)


@lru_cache(8)
def _checked_by(path: str) -> Callable[[Record], str]:
    with needing("xml", f"the option {OPTION}"):
        from lxml import etree
    place = f"/{local_key(mapped(path))}"
    try:
        schema = etree.XMLSchema(etree.parse(place, etree.XMLParser(no_network=True, resolve_entities=False)))
    except (OSError, etree.LxmlError) as error:
        raise ConfigurationError(
            f"no XSD can be read: {error}"[:500],
            where=f"the option {OPTION}: {path}",
            state="nothing was read or written",
            next_command="give the path of a file that the driver and all workers have, or leave the option out",
        ) from None
    parser = etree.XMLParser(no_network=True, resolve_entities=False, huge_tree=True)

    def check(record: Record) -> str:
        spaces = dict(record.namespaces)  # the last attribute of a name is of the inner element
        head = etree.Element("x", nsmap={name.partition(":")[2] or None: uri for name, uri in spaces.items() if uri})
        opened = etree.tostring(head).decode().removesuffix("/>")
        try:
            element = etree.fromstring(f"{opened}>{record.text()}</x>", parser)[0]
        except etree.XMLSyntaxError as error:
            return str(error)
        return "" if schema.validate(element) else str(schema.error_log.last_error.message)

    return check
