"""The rooms, one function for each kind of thing that can happen in them."""

from api import Refused, q
from people import Family, picture

VERSIONS = [str(number) for number in range(1, 13)]
LATE_JOINER_AT = (30, 60)
MANY_MESSAGES = 80


def create(family: Family, owner: str, nickname: str, version: str = "10", **body) -> str:
    body.setdefault("preset", "private_chat")
    made = family[owner].post("/createRoom", room_version=version, **body)
    return family.room(nickname, made["room_id"], version)


def invite_and_join(family: Family, room: str, host: str, *guests: str) -> None:
    for guest in guests:
        family[host].invite(room, family.id(guest))
        family[guest].join(room)


def every_version(family: Family, versions: list[str] = VERSIONS) -> None:
    """A room of each version: messages, a redaction, a change of topic and of a display name, a guest who left."""
    for version in versions:
        room = create(family, "ada", f"v{version}", version, name=f"Version {version}")
        invite_and_join(family, room, "ada", "ben", "dan")
        family["ada"].say(room, f"Hello in version {version} 👋")
        typo = family["ben"].say(room, "tpyo")
        family["ben"].redact(room, typo, reason="a typo")
        family["ada"].state(room, "m.room.topic", topic="First topic")
        family["ada"].state(room, "m.room.topic", topic=f"Topic of version {version}")
        family["dan"].leave(room)
        family["ben"].say(room, "Bye Dan")


def home(family: Family) -> None:
    """The private room in which most of the talk happens."""
    room = create(family, "ada", "private", name="Family 🏡", topic="Everybody")
    invite_and_join(family, room, "ada", "ben", "cleo", "dan", "finn")
    ada, ben, cleo, dan = (family[name] for name in ("ada", "ben", "cleo", "dan"))
    first = ada.say(room, "Who bakes the **cake**?", format="org.matrix.custom.html",
                    formatted_body="Who bakes the <b>cake</b>?")
    reply = ben.say(room, "> Who bakes\n\nI do", **{"m.relates_to": {"m.in_reply_to": {"event_id": first}}})
    ada.send(room, "m.reaction", **{"m.relates_to": {"rel_type": "m.annotation", "event_id": reply, "key": "👍"}})
    taken_back = cleo.send(room, "m.reaction", **{
        "m.relates_to": {"rel_type": "m.annotation", "event_id": reply, "key": "🎂"}})
    cleo.redact(room, taken_back)
    cleo.say(room, "* Chocolate, please", **{
        "m.new_content": {"msgtype": "m.text", "body": "Chocolate, please"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": cleo.say(room, "Chocolte, please")}})
    for text in ("In a thread", "Still in the thread"):
        thread = dan.say(room, text, **{"m.relates_to": {"rel_type": "m.thread", "event_id": first}})
    image = cleo.upload(picture(200, 80, 80), "image/png", "cake 🎂.png")
    cleo.send(room, "m.room.message", msgtype="m.image", body="cake 🎂.png", url=image,
              info={"mimetype": "image/png", "w": 64, "h": 64})
    mention = ben.say(room, f"{ada.user_id}: look", **{"m.mentions": {"user_ids": [ada.user_id]}})
    levels = ada.get(f"/rooms/{q(room)}/state/m.room.power_levels")
    levels["users"][ben.user_id] = 50
    levels["notifications"] = {"room": 60}
    ada.state(room, "m.room.power_levels", **levels)
    ada.state(room, "m.room.pinned_events", pinned=[first])
    ada.state(room, "test.family.custom", "key with / and 🗝", value={"deep": ["state"]})
    ada.state(room, "m.room.avatar", url=image)
    finn = family["finn"]
    finn.put(f"/profile/{q(finn.user_id)}/displayname", displayname="Finn 🦈 (9)")
    last = dan.say(room, "Good night")
    # Read up to different places, in public, privately, in the thread; and one who reads nothing.
    ada.post(f"/rooms/{q(room)}/receipt/m.read/{q(mention)}")
    ben.post(f"/rooms/{q(room)}/receipt/m.read.private/{q(first)}", thread_id="main")
    dan.post(f"/rooms/{q(room)}/receipt/m.read/{q(thread)}", thread_id=first)
    cleo.post(f"/rooms/{q(room)}/read_markers", **{
        "m.fully_read": mention, "m.read": mention, "m.read.private": last})


def public(family: Family) -> None:
    """A published room with aliases, a ban, an unban and a kick."""
    room = create(family, "ben", "public", preset="public_chat", visibility="public", name="Street party",
                  room_alias_name="street", topic="All welcome")
    alias = f"#street2:{family.lab['server_name']}"
    family["ben"].put(f"/directory/room/{q(alias)}", room_id=room)
    family["ben"].state(room, "m.room.canonical_alias", alt_aliases=[alias],
                        alias=f"#street:{family.lab['server_name']}")
    for name in ("ada", "cleo", "dan", "eve", "hana"):
        family[name].join(room)
        family[name].say(room, f"I am {name}")
    family["ben"].post(f"/rooms/{q(room)}/ban", user_id=family.id("eve"), reason="Not again 😠")
    family["ben"].post(f"/rooms/{q(room)}/kick", user_id=family.id("hana"), reason="by mistake")
    family["ben"].post(f"/rooms/{q(room)}/ban", user_id=family.id("cleo"))
    family["ben"].post(f"/rooms/{q(room)}/unban", user_id=family.id("cleo"))
    family["ben"].state(room, "m.room.server_acl", allow=["*"], deny=["evil.test"], allow_ip_literals=False)
    family["ben"].say(room, "Said after eve, hana and cleo were gone")


def comings_and_goings(family: Family) -> None:
    """Direct messages, invites, knocks, rooms left and forgotten, a room that nobody is in any more."""
    dm = create(family, "ada", "dm", is_direct=True, preset="trusted_private_chat", invite=[family.id("ben")])
    family["ben"].join(dm)
    family["ben"].say(dm, "Psst")

    create(family, "ada", "invited", name="Surprise 🎁", invite=[family.id("hana"), family.id("finn")])
    refused = create(family, "dan", "refused", name="Boring", invite=[family.id("finn")])
    family["finn"].leave(refused)

    # Dan ignores Eve, and is not told of this.
    create(family, "eve", "ignored", name="Please", invite=[family.id("dan")])

    door = create(family, "ada", "knocked", name="Knock first", initial_state=[
        {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}])
    family["hana"].post(f"/knock/{q(door)}", reason="Let me in?")
    family["eve"].post(f"/knock/{q(door)}", reason="Me too")
    family["ada"].invite(door, family.id("eve"))
    family["eve"].join(door)

    for nickname, forget in (("left", False), ("forgotten", True)):
        room = create(family, "ada", nickname, name=nickname.title())
        invite_and_join(family, room, "ada", "cleo", "dan")
        family["cleo"].say(room, "I am going")
        family["cleo"].leave(room)
        if forget:
            family["cleo"].post(f"/rooms/{q(room)}/forget")
        family["ada"].say(room, "She is gone")

    empty = create(family, "dan", "empty", name="Nobody's")
    invite_and_join(family, empty, "dan", "eve")
    family["dan"].say(empty, "Last one out turns off the light")
    for name in ("eve", "dan"):
        family[name].leave(empty)
    back = create(family, "ada", "rejoined", preset="public_chat", name="Back again")
    for step in ("join", "leave", "join"):
        getattr(family["dan"], step)(back)
    family["dan"].say(back, "I am back")


def block(family: Family) -> None:
    """Nobody may come back to the room that nobody is in."""
    empty = family.lab["rooms"]["empty"]["room_id"]
    family["ada"].put(f"/_synapse/admin/v1/rooms/{q(empty)}/block", block=True)


def many_messages(family: Family) -> None:
    """A long room whose history can be seen from one's own joining only, with people joining late."""
    room = create(family, "ada", "long", name="Long", initial_state=[
        {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}])
    invite_and_join(family, room, "ada", "ben")
    for number in range(MANY_MESSAGES):
        if number in LATE_JOINER_AT:
            invite_and_join(family, room, "ada", ("cleo", "dan")[LATE_JOINER_AT.index(number)])
        family[("ada", "ben")[number % 2]].say(room, f"Message {number}")
    family["cleo"].leave(room)
    family["ada"].say(room, "Cleo can't see this")
    for visibility, text in (("invited", "for those invited"), ("shared", "for all members"),
                             ("world_readable", "for the world")):
        family["ada"].state(room, "m.room.history_visibility", history_visibility=visibility)
        family["ada"].say(room, text)


def spaces(family: Family) -> None:
    """A space with children, one of them restricted to its members."""
    server = family.lab["server_name"]
    space = create(family, "ada", "space", "11", name="House", creation_content={"type": "m.space"})
    invite_and_join(family, space, "ada", "ben", "hana")
    inside = create(family, "ada", "restricted", "10", name="Living room", initial_state=[
        {"type": "m.room.join_rules", "content": {
            "join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}}])
    # No invitation: she may join because she is in the space.
    family["hana"].join(inside)
    family["hana"].say(inside, "I live here")
    for child in (inside, family.lab["rooms"]["public"]["room_id"]):
        family["ada"].state(space, "m.space.child", child, via=[server], suggested=True, order="a")
    family["ada"].state(inside, "m.space.parent", space, via=[server], canonical=True)


def upgraded(family: Family) -> None:
    old = create(family, "ada", "upgraded-old", "6", name="Moving house")
    invite_and_join(family, old, "ada", "ben", "cleo")
    family["ben"].say(old, "Before the upgrade")
    new = family["ada"].post(f"/rooms/{q(old)}/upgrade", new_version="11")["replacement_room"]
    family.room("upgraded-new", new, "11")
    invite_and_join(family, new, "ada", "ben")
    family["ben"].say(new, "After the upgrade")


def deactivate(family: Family, name: str, erase: bool) -> None:
    family["ada"].post(f"/_synapse/admin/v1/deactivate/{q(family.id(name))}", erase=erase)
    try:
        family[name].get("/account/whoami")
    except Refused as refused:
        assert refused.status == 401, refused
    else:
        raise AssertionError(f"{name} is still logged in")
    user = family.lab["users"][name]
    user["devices"], user["deactivated"] = [], True


def fishing(family: Family) -> None:
    """What Gus has before he goes."""
    room = create(family, "gus", "of-gus", preset="public_chat", name="Fishing")
    family["ben"].join(room)
    family["gus"].say(room, "Gone fishing 🎣")


def one_who_goes(family: Family) -> None:
    """Gus had rooms, a profile and devices, and is deactivated."""
    fishing(family)
    deactivate(family, "gus", erase=False)


def one_who_is_erased(family: Family) -> None:
    """Kim is erased: Ben, who was there, still sees what she said; Hana, who came later, sees that something was said."""
    room = create(family, "kim", "of-kim", preset="public_chat", name="Cooking", topic="Kimchi")
    family["ben"].join(room)
    kim, ben = family["kim"], family["ben"]
    kim.say(room, "The secret is the radish")
    asked = ben.say(room, "How long?")
    kim.send(room, "m.reaction", **{"m.relates_to": {"rel_type": "m.annotation", "event_id": asked, "key": "🌶"}})
    kim.redact(room, kim.say(room, "Two dyas"))
    kim.state(room, "test.family.recipe", "kimchi", text="replaced by Ben")
    ben_can = kim.get(f"/rooms/{q(room)}/state/m.room.power_levels") | {"users": {kim.user_id: 100, ben.user_id: 100}}
    kim.state(room, "m.room.power_levels", **ben_can)
    ben.state(room, "test.family.recipe", "kimchi", text="of Ben")
    deactivate(family, "kim", erase=True)
    family["hana"].join(room)
    ben.say(room, "Kim has gone")
