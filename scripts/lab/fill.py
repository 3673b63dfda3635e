"""The story that fills a laboratory, in the order in which it is told."""

import crypto
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
    rooms.many_messages(family)
    rooms.spaces(family)
    rooms.upgraded(family)
    crypto.secrets_of(family)
    people.settings(family)
    media.uploads(family)
    rooms.one_who_goes(family)
    lab.save()
