"""Messages that no channel takes for long, and processes whose clocks are apart: what is told stays told."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from lakehouse.alerts import telling
from lakehouse.alerts.alert import Alert, Round
from lakehouse.alerts.book import HomeBook, read
from lakehouse.alerts.hooks import tell_safely
from lakehouse.alerts.telling import tell
from lakehouse.flows.files import Files
from lakehouse.settings import Settings
from lakehouse.table import Alerting, Catalogue, Table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


class Story:
    """A channel that is a file, and a state in the home folder."""

    def __init__(self, folder):
        self.file = folder / "told" / "alerts.jsonl"
        address = SecretStr(f"file://{self.file}")
        self.settings = Settings.load(home=folder).model_copy(update={"alerts": address})

    def tell(self, *numbers, at=NOW, most_an_hour=20):
        """A look that found these; everything else is well."""
        found = [Alert("damaged", "", f"doctor::{number}:", f"number {number}") for number in numbers]
        catalogue = Catalogue(alerts=Alerting(most_an_hour=most_an_hour))
        return tell(self.settings, catalogue, Round.of(found, ["doctor:"]), now=lambda: at)

    def up(self):
        self.file.parent.mkdir(exist_ok=True)

    def told(self):
        return [json.loads(line)["what"] for line in self.file.read_text().splitlines()]

    def state(self):
        return read(HomeBook(self.settings))


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path)


def test_a_message_that_a_process_claimed_by_a_clock_of_next_year_is_sent_by_another(story, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(telling._Teller, "_send", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        story.tell(1, at=NOW + YEAR)
    story.up()
    assert story.tell(1, at=NOW).delivered == 1
    assert story.told() == ["number 1"]


def test_what_was_sent_by_a_clock_of_next_year_does_not_silence_a_channel_for_a_year(story):
    story.up()
    story.tell(1, at=NOW + YEAR, most_an_hour=1)
    assert story.tell(1, 2, at=NOW, most_an_hour=1).delivered == 1
    assert story.told() == ["number 1", "number 2"]


def test_a_message_links_to_the_page_of_its_table(story):
    story.up()
    story.settings = story.settings.model_copy(update={"dagster_url": "https://dagster.example:3000/"})
    catalogue = Catalogue((Table("bronze.things", Files(path="s3a://landing/things/")),))
    found = Round.of([Alert("damaged", table, f"doctor:{table}:1:", "broken") for table in ("bronze.things", "")], [])
    tell(story.settings, catalogue, found, now=lambda: NOW)
    pages = [json.loads(line)["page"] for line in story.file.read_text().splitlines()]
    assert pages == ["https://dagster.example:3000/assets/bronze/things", "https://dagster.example:3000"]


def test_of_messages_that_no_channel_takes_the_newest_thousand_wait_and_the_loss_is_said(story, monkeypatch):
    monkeypatch.setattr(telling, "_MOST_WAITING", 10)
    for number in range(8):
        lost = story.tell(number).problems
    assert any("2 older messages" in problem for problem in lost)
    assert len(story.state().outbox) == 10
    story.up()
    story.tell(7)
    assert story.told()[-2:] == ["number 7", "number 6"], "it has begun, and the one before is well again"
    assert len(story.told()) == 10


def test_while_the_declaration_cannot_be_read_no_table_counts_as_given_up(story, tmp_path):
    story.up()
    declaration = tmp_path / "lakehouse.yaml"
    story.settings = story.settings.model_copy(update={"declaration": declaration})
    good = json.dumps({"tables": {"bronze.things": {"files": {"path": "s3a://landing/things/"}}}})
    bad = Round.of([Alert("damaged", "bronze.things", "doctor:bronze.things:1:", "broken")], [])
    for text, found in ((good, bad), ("tables: [", Round()), (good, bad)):
        declaration.write_text(text)
        tell_safely(story.settings, lambda _, found=found: found, None)
    assert story.told() == ["broken"], "it was wrong all the time"
