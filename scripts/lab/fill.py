"""The story that fills a laboratory, in the order in which it is told."""

import bridge
import crypto
import elsewhere
import encryption
import media
import people
import rooms
from notes import Notes


def tell(lab: Notes) -> None:
    if lab.get("users"):
        raise SystemExit("it is filled already")
    family = people.register(lab)
    people.profiles(family)
    rooms.every_version(family)
    rooms.home(family)
    rooms.public(family)
    rooms.comings_and_goings(family)
    rooms.block(family)
    rooms.many_messages(family)
    rooms.spaces(family)
    rooms.upgraded(family)
    bridge.tell(family)
    elsewhere.tell(family)
    crypto.secrets_of(family)
    encryption.talk(family)
    people.settings(family)
    media.uploads(family)
    rooms.one_who_goes(family)
    rooms.one_who_is_erased(family)
    lab.save()
