"""``singleVariantColumn`` for XML: each record whole, as the VARIANT that Spark makes of it.

Names that differ only by case are one field, as in Spark, with the spelling of the first.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from lakehouse.autoloader.formats.json_text import Float, Integer, Items, Members
from lakehouse.autoloader.formats.text import DECIMAL
from lakehouse.autoloader.formats.variant import encode
from lakehouse.autoloader.formats.xml_records import Element
from lakehouse.autoloader.formats.xml_values import Item, Shape

_MOST_DIGITS = 38


def variant_of(element: Element, shape: Shape) -> dict[str, bytes]:
    """The bytes of a record's variant, as Arrow has them.

    Raises:
        Malformed: it cannot be a variant.
    """
    value, metadata = encode(_document(element, shape))
    return {"value": value, "metadata": metadata}


def _document(item: Item, shape: Shape) -> Any:
    if type(item) is str:
        return _leaf(shape.trimmed(item))
    assert type(item) is Element
    found: dict[str, tuple[str, list[Any]]] = {}
    for name, part in shape.items(item):
        found.setdefault(name.lower(), (name, []))[1].append(part)
    if not found:
        return None
    if [name for name, _ in found.values()] == [shape.value_tag] and all(type(part) is str for part in item.parts):
        return _leaf(shape.trimmed("".join(item.parts)))  # type: ignore[arg-type]
    several = ((name, [_document(part, shape) for part in parts]) for _, (name, parts) in sorted(found.items()))
    return Members((name, values[0] if len(values) == 1 else Items(values)) for name, values in several)


def _leaf(text: str | None) -> Any:
    """A boolean, a whole number, a decimal or a text, as JSON's parser has them: no value is a DOUBLE."""
    if text is None or text.lower() in ("true", "false"):
        return text if text is None else text.lower() == "true"
    if not DECIMAL.fullmatch(bare := text.replace(",", "")):
        return text
    number = Decimal(bare)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    scale = max(-exponent, 0)
    if max(len(digits) + max(exponent, 0), scale) > _MOST_DIGITS:
        return text
    return Integer(int(number)) if exponent >= 0 else Float(f"{number:f}")
