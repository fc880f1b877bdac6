"""The smallest ``.xls`` file: one sheet of numbers, texts, truths and errors in a compound file."""

import struct

FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def xls(rows, name="Sheet1", before=b""):
    """A file with rows of cells; ``before`` are records in front of the sheet's."""
    cells = b"".join(cell(down, right, value) for down, row in enumerate(rows) for right, value in enumerate(row))
    first = record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 6)) + before
    at = len(first) + 4 + 8 + len(name) + 4
    title = record(0x85, struct.pack("<IBBBB", at, 0, 0, len(name), 0) + name.encode("latin1"))
    sheet = record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 6)) + cells + record(0x0A)
    return compound("Workbook", first + title + record(0x0A) + sheet)


def record(kind, data=b""):
    return struct.pack("<HH", kind, len(data)) + data


def cell(row, column, value):
    place = struct.pack("<HHH", row, column, 0)
    match value:
        case None:
            return b""
        case bool():
            return record(0x205, place + bytes([value, 0]))
        case int() | float():
            return record(0x203, place + struct.pack("<d", value))
        case bytes():  # an error's code
            return record(0x205, place + value + b"\1")
    return record(0x204, place + struct.pack("<HB", len(value), 0) + value.encode("latin1"))


def compound(name, data):
    """A compound file with one stream."""
    data = data.ljust(4096, b"\0")
    data += bytes(-len(data) % 512)
    sectors = len(data) // 512
    table = [FAT, END, *range(3, 2 + sectors), END]
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, END, 0, END, 0) + struct.pack("<109I", 0, *[FREE] * 108)
    fat = struct.pack("<128I", *table, *[FREE] * (128 - len(table)))
    folder = entry("Root Entry", 5, 1, END, 0) + entry(name, 2, FREE, 2, len(data)) + bytes(256)
    return head + fat + folder + data


def entry(name, kind, child, start, size):
    text = (name + "\0").encode("utf-16-le")
    said = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, FREE, FREE, child)
    return said + bytes(36) + struct.pack("<IQ", start, size)
