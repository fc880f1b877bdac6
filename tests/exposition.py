"""A strict reader of Prometheus' text format 0.0.4: it refuses what a lenient one passes over."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
_SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
_ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_TYPES = ("counter", "gauge", "histogram")


def read(text):
    """Every sample: (name, labels as a frozenset of pairs) to its value; and each family's type."""
    assert text.endswith("\n")
    samples, types, helps, family = {}, {}, set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, told = line.split(" ", 3)
            assert re.fullmatch(NAME, name) and told and name not in helps, line
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helps and name not in types and kind in _TYPES, line
            types[name], family = kind, name
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            name, labels = found[1], frozenset(_labels(found[2] or "").items())
            assert _family(name, types) == family, f"{line}: outside of its family"
            assert (name, labels) not in samples, f"{line}: twice"
            samples[name, labels] = float(found[3])
    _check(samples, types)
    return samples, types


def names(text):
    """Names that a query may use, each with the names of its labels."""
    found = {}
    for (name, labels), _ in read(text)[0].items():
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def _labels(text):
    labels, at = {}, 0
    while at < len(text):
        found = _LABEL.match(text, at)
        assert found and found[1] not in labels, text
        labels[found[1]] = re.sub(r'\\[\\"n]', lambda escape: _ESCAPED[escape[0]], found[2])
        at = found.end()
    return labels


def _family(name, types):
    if name in types:
        return name
    return re.sub("_(bucket|sum|count)$", "", name)


def _check(samples, types):
    for name, kind in types.items():
        assert kind != "counter" or name.endswith("_total"), name
        if kind == "histogram":
            series = {}
            for (sample_name, labels), value in samples.items():
                if sample_name == f"{name}_bucket":
                    bound = dict(labels)["le"]
                    series.setdefault(labels - {("le", bound)}, []).append((float(bound), value))
            for labels, buckets in series.items():
                values = [value for _, value in sorted(buckets)]
                assert values == sorted(values), f"{name}: buckets are sums"
                assert sorted(buckets)[-1] == (float("inf"), samples[f"{name}_count", labels])
