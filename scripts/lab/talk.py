"""So much talk in every room that what was said before is no longer among the newest events."""

from api import Client, Refused, q
from notes import Notes

# More than a dump of the newest events holds.
ENOUGH = 60


def talk(lab: Notes) -> int:
    """Ada talks in each room where she may. What she says first and last belongs to what was said long ago."""
    ada = Client(lab["base_url"], lab["users"]["ada"]["devices"][0]["access_token"], lab["users"]["ada"]["user_id"])
    rooms = 0
    for room in sorted(ada.get("/joined_rooms")["joined_rooms"]):
        old = messages(ada, room)
        try:
            relate(ada, room, old[:2])
            for number in range(ENOUGH):
                if number % 20 == 10:
                    ada.state(room, "org.example.number", number=number)
                ada.say(room, f"Talking, {number}")
            relate(ada, room, old[:2])
        except Refused as refused:
            # Rooms that were upgraded, or where she may not speak.
            if refused.status != 403:
                raise
            continue
        for event in old[2:3]:
            ada.redact(room, event, reason="Long ago")
        rooms += 1
    return rooms


def messages(client: Client, room: str) -> list[str]:
    """The first messages of a room."""
    page = client.get(f"/rooms/{q(room)}/messages", dir="f", limit=100)
    return [event["event_id"] for event in page["chunk"]
            if event["type"] == "m.room.message" and "redacted_because" not in event.get("unsigned", {})]


def relate(client: Client, room: str, old: list[str]) -> None:
    for event in old:
        client.send(room, "m.reaction", **{"m.relates_to": {
            "rel_type": "m.annotation", "event_id": event, "key": client.next_transaction()}})
        client.say(room, "As I said", **{"m.relates_to": {"rel_type": "m.thread", "event_id": event}})
        client.say(room, "What?", **{"m.relates_to": {"m.in_reply_to": {"event_id": event}}})
