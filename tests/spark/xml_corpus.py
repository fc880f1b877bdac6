"""Documents of XML by chance: records in which every element may hold attributes, texts and elements in any order."""

import random

TEXTS = [
    *("1", "-2", "+3", "007", "9223372036854775807", "9223372036854775808", "1.5", ".5", "5.", "1e3", "1E-2", "-0.0"),
    *("1,234", "1,234.5", "1d", "2f", "NaN", "0x1F", "1_000", "true", "FALSE", "yes", "abc", "a b", "-", "+", "."),
    *("2020-01-02", "2020-1-2", "2020-02-30", "2020-01-02 03:04:05", "2020-01-02T03:04:05.123Z", "2020-01", "20200102"),
    *("2020-01-02T03:04:05+02:00", "2020-01-02 3:4:5", " 1 ", " x ", "\n 2\n", "", "", " ", "\u00e9\u4e2d\U0001f600"),
    *("&lt;b&gt; &amp;", "&#65;&#x42;", "<![CDATA[<b>1</b>]]>", "<![CDATA[5]]>", "4<![CDATA[2]]>", "&quot;&apos;"),
]
WEIGHTED = [*TEXTS, *["1", "2", "30", "1.5", "x", "true", "2020-01-02"] * 4]
NAMES = ["a", "b", "c", "d-e", "f.g", "h_i", "n:y", "n:z"]
ATTRIBUTES = ["k", "l", "n:m", "xmlns:n"]


def documents(seed, count, rows=3):
    """A file of records: each document is some of them, in an element of its own, so that all can be read as one."""
    chance, records = random.Random(seed), []
    for some in _documents(chance, count, rows):
        records += some
    chance.shuffle(records)
    return _file(records)


def files(seed, count, rows=3):
    """The same documents, each a file of its own."""
    return [_file(records) for records in _documents(random.Random(seed), count, rows)]


def _documents(chance, count, rows):
    for number in range(count):
        kinds = {name: chance.random() for name in NAMES}
        records = []
        for _ in range(chance.randrange(1, rows + 1)):
            body = "".join(_element(chance, f"doc{number}", kinds, 0) for _ in range(1 + (chance.random() < 0.15)))
            own = f' r{number}="{_attribute(chance)}"' if chance.random() < 0.2 else ""
            between = chance.choice(["", "\n  ", "<!-- <row/> -->", "<?x <row/> ?>"])
            records.append(f"<row{own}>{between}{body}{chance.choice(['', ' '])}</row>")
        yield records


def _file(records):
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<rows xmlns:n="u">\n{chr(10).join(records)}\n</rows>\n'.encode()


def _element(chance, name, kinds, level):
    names = chance.sample(ATTRIBUTES, chance.choice([0, 0, 0, 0, 1, 1, 2]))
    attributes = "".join(f' {attribute}="{_attribute(chance)}"' for attribute in names)
    if kinds.get(name, 1) < 0.5:
        text = _attribute(chance) if attributes else chance.choice(WEIGHTED)
        return f"<{name}{attributes}>{text}</{name}>" if text or chance.random() < 0.5 else f"<{name}{attributes}/>"
    # what holds elements once always does: of a name that has texts alone, too, Spark infers what does not fit all
    parts = [
        _element(chance, chance.choice(NAMES), kinds, level + 1) for _ in range(chance.randrange(5) if level < 3 else 0)
    ]
    if parts and chance.random() < 0.25:
        parts.insert(chance.randrange(len(parts) + 1), _attribute(chance))
    if chance.random() < 0.3:
        parts.insert(0, "\n   ")
    return f"<{name}{attributes}>{''.join(parts)}</{name}>"


def _attribute(chance):
    # not an empty one: where others are numbers, a record with it is malformed to Spark
    return chance.choice([text for text in WEIGHTED if text.strip() and "<" not in text])
