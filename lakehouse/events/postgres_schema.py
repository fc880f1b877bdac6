"""The tables of an inbox in PostgreSQL."""

VERSION = 1
EVENTS = "lakehouse_events"
"""MinIO's table, and the channel that notifies of its rows."""
LOCK = 7_315_290_141
"""Lock that is held from an event's numbering to its commit: so numbers grow in the order of commits."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS lakehouse_events_state (
    version INTEGER NOT NULL, forgotten_upto BIGINT NOT NULL, removed_upto BIGINT NOT NULL,
    pruned_at TIMESTAMPTZ NOT NULL
);
INSERT INTO lakehouse_events_state SELECT {VERSION}, 0, 0, now() WHERE NOT EXISTS (SELECT FROM lakehouse_events_state);
CREATE TABLE IF NOT EXISTS lakehouse_events_readers (
    name TEXT PRIMARY KEY, upto BIGINT, seq BIGINT, segment TEXT, listed_at TIMESTAMPTZ,
    interval_seconds DOUBLE PRECISION, told BIGINT, told_in_all BIGINT, lost_in_all BIGINT, told_before BIGINT,
    lost_before BIGINT
);
CREATE SEQUENCE IF NOT EXISTS lakehouse_events_numbers;
CREATE TABLE IF NOT EXISTS {EVENTS} (event_time TIMESTAMP WITH TIME ZONE NOT NULL, event_data JSONB);
ALTER TABLE {EVENTS} ADD COLUMN IF NOT EXISTS number BIGINT, ADD COLUMN IF NOT EXISTS received TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS bucket TEXT, ADD COLUMN IF NOT EXISTS key TEXT, ADD COLUMN IF NOT EXISTS place UUID,
    ADD COLUMN IF NOT EXISTS mark UUID, ADD COLUMN IF NOT EXISTS modified_milliseconds BIGINT;
CREATE OR REPLACE FUNCTION lakehouse_events_numbered() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    said JSONB := NEW.event_data -> 'Records' -> 0 -> 's3';
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK});
    PERFORM set_config('synchronous_commit', 'on', true); -- the store forgets the event when this is committed
    NEW.bucket := coalesce(said #>> '{{bucket,name}}', '');
    NEW.key := coalesce(said #>> '{{object,key}}', '');
    NEW.place := md5(NEW.bucket || E'\\n' || NEW.key)::uuid;
    NEW.mark := md5(concat_ws(E'\\n', NEW.bucket, NEW.key, coalesce(said #>> '{{object,sequencer}}', ''),
        trim(both '"' from coalesce(said #>> '{{object,eTag}}', ''))))::uuid;
    IF EXISTS (SELECT FROM {EVENTS} WHERE mark = NEW.mark) THEN
        RETURN NULL;
    END IF;
    NEW.number := nextval('lakehouse_events_numbers');
    NEW.received := coalesce(NEW.received, clock_timestamp());
    PERFORM pg_notify('{EVENTS}', '');
    RETURN NEW;
END
$body$;
CREATE OR REPLACE TRIGGER lakehouse_events_numbered BEFORE INSERT ON {EVENTS}
    FOR EACH ROW EXECUTE FUNCTION lakehouse_events_numbered();
CREATE UNIQUE INDEX IF NOT EXISTS lakehouse_events_number ON {EVENTS} (number);
CREATE UNIQUE INDEX IF NOT EXISTS lakehouse_events_mark ON {EVENTS} (mark);
CREATE INDEX IF NOT EXISTS lakehouse_events_place ON {EVENTS} (place);
WITH early AS (DELETE FROM {EVENTS} WHERE number IS NULL RETURNING event_time, event_data)
    INSERT INTO {EVENTS} (event_time, event_data) SELECT event_time, event_data FROM early ORDER BY event_time
"""
"""Made as often as wanted; rows that MinIO wrote into a table of its own making are numbered, too."""
