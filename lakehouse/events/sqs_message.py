"""One message of a queue of SQS."""

from __future__ import annotations

import json

from lakehouse.events.event import Event, Malformed, events_of


def events_of_message(body: str) -> list[Event]:
    """What a message of S3 says, sent to the queue itself or by way of SNS.

    Raises:
        Malformed: it is another kind of message.
    """
    try:
        document = json.loads(body)
        if document.get("Type") == "Notification" and "Records" not in document:
            body = document["Message"]
            document = json.loads(body)
        if document.get("Event") == "s3:TestEvent":  # S3 tries a new rule with it
            return []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(type(error).__name__) from None
    return events_of(body.encode())[0]
