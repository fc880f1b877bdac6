"""Sample files of customers: each day some new ones, and updates of those that are there."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

COUNTRIES = ("DE", "FR", "IT")
COLUMNS = ("customer_id", "name", "city", "updated_at")

_NAMES = ("Ada", "Bruno", "Chloé", "Dario", "Émile", "Frieda", "Gianna", "Hugo")
_CITIES = {"DE": ("Bonn", "Köln"), "FR": ("Lyon", "Nîmes"), "IT": ("Bari", "Forlì")}
_FIRST = datetime(2026, 1, 1, 6)


def generate_customers(
    write: Callable[[str, bytes], object],
    *,
    days: int = 3,
    first_day: int = 0,
    customers_per_day: int = 30,
    seed: int = 7,
) -> int:
    """Writes a file for each day and country: ``country=DE/day_003.csv``, with a header.

    A customer keeps its country. About a third of a day's lines are updates of customers of earlier days.

    Args:
        write: Called with the name of each file, below the landing folder, and its bytes.
        days: How many days.
        first_day: Number of the first; files of earlier days are as they were.
        customers_per_day: New customers of each day, over all countries.
        seed: The same seed gives the same bytes.

    Returns:
        How many lines were written.
    """
    lines = 0
    for day in range(first_day, first_day + days):
        chance = random.Random(f"{seed}/{day}")
        new = range(day * customers_per_day, (day + 1) * customers_per_day)
        updated = chance.sample(range(day * customers_per_day), customers_per_day // 2) if day else []
        for country in COUNTRIES:
            rows = [customer for customer in [*new, *updated] if _country(customer) == country]
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(COLUMNS)
            for customer in rows:
                moment = _FIRST + timedelta(days=day, seconds=chance.randrange(36_000))
                city = chance.choice(_CITIES[country])
                writer.writerow([customer, _NAMES[customer % len(_NAMES)], city, f"{moment:%Y-%m-%d %H:%M:%S}"])
            write(f"country={country}/day_{day:03d}.csv", text.getvalue().encode())
            lines += len(rows)
    return lines


def days_of(keys: Iterable[str]) -> int:
    """How many days there are among the names of files: the number of the next one."""
    found = [re.search(r"day_(\d+)\.csv$", key) for key in keys]
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _country(customer: int) -> str:
    return COUNTRIES[customer % len(COUNTRIES)]
