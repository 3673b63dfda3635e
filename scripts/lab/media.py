"""Media: what clients upload, what administrators do to it, and what time does to a media store."""

import hashlib
import re
import sqlite3
import struct
from pathlib import Path
from urllib.parse import unquote

from api import Client, q
from people import Family, picture

# One request a size that both servers keep.
THUMBNAILS = [(32, 32, "crop"), (96, 96, "crop"), (320, 240, "scale")]
DOWNLOAD = "/_matrix/client/v1/media/download/"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail/"
OLD_DOWNLOAD = "/_matrix/media/v3/download/"


def uploads(family: Family) -> None:
    """Uploads of every kind; `lab.json` has their addresses by nickname."""
    ada, ben, cleo = (family[name] for name in ("ada", "ben", "cleo"))
    large = picture(10, 160, 90, 400, 300)
    media = family.lab["media"] = {
        "picture": ada.upload(large, "image/png", "Garten 🌻.png"),
        "same picture": ben.upload(large, "image/png", "ben's copy.png"),
        "text": ben.upload("Grüße\n".encode(), "text/plain", "Grüße.txt"),
        "without name": cleo.upload(b"\x00\x01\x02", "application/octet-stream", ""),
        "empty": cleo.upload(b"", "application/x-empty", "empty"),
        "long name": ada.upload(b"long", "text/plain", "ü" * 125 + ".text"),
        "odd name": ada.upload(b"odd", "text/plain", "tab\there \"quoted\" ../../etc/passwd"),
        "odd type": ada.upload(b"odd type", "not a type at all", "odd"),
        "megabytes": ada.upload(b"0123456789abcdef" * (3 << 16), "application/octet-stream", "3 MB"),
        "quarantined": cleo.upload(picture(1, 2, 3), "image/png", "bad.png"),
        "file gone": ada.upload(b"soon gone", "text/plain", "gone.txt"),
        "without token": ben.upload(b"for everybody", "text/plain", "public.txt"),
    }
    reserved = ada.post("/_matrix/media/v1/create")["content_uri"]
    server, media_id = media["quarantined"].removeprefix("mxc://").split("/")
    ada.post(f"/_synapse/admin/v1/media/quarantine/{q(server)}/{q(media_id)}")
    store = family.lab.dir / "media/local_content"
    file_of(store, media["file gone"]).unlink()
    orphan = store / "zz/zz/orphan"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody's")
    media["reserved"] = reserved
    older_upload(family, media["without token"])


def file_of(store: Path, uri: str) -> Path:
    media_id = uri.rsplit("/", 1)[1]
    return store / media_id[:2] / media_id[2:4] / media_id[4:]


def older_upload(family: Family, uri: str) -> None:
    """Makes an upload one of the time before authenticated media. Only in SQLite, to which a second writer is no matter."""
    if family.lab["engine"] == "sqlite":
        with sqlite3.connect(family.lab.dir / "homeserver.db", timeout=30) as database:
            database.execute("UPDATE local_media_repository SET authenticated = FALSE WHERE media_id = ?",
                             (uri.rsplit("/", 1)[1],))
        database.close()


def views(client: Client, uris: dict[str, str]) -> dict:
    """What a device gets of each: the file, thumbnails, and the file without its token."""
    seen = {}
    for name, uri in uris.items():
        where = uri.removeprefix("mxc://")
        seen[name] = {"file": fetch(client, DOWNLOAD + where), "without token": anonymous(client, where)}
        if seen[name]["file"].get("type", "").startswith("image/"):
            for width, height, method in THUMBNAILS:
                got = fetch(client, THUMBNAIL + where, width=width, height=height, method=method)
                seen[name][f"thumbnail {width}x{height}"] = got.get("side", got.get("status"))
    return seen


def fetch(client: Client, path: str, **params) -> dict:
    # A reserved id that nobody uploads to would be waited for.
    answer = client.http.get(client.base_url + path, params={"timeout_ms": 1, **params}, timeout=60)
    if not answer.ok:
        return {"status": 404 if answer.status_code == 504 else answer.status_code}
    found = {"sha256": hashlib.sha256(answer.content).hexdigest(), "bytes": len(answer.content),
             # Synapse adds a charset to text.
             "type": answer.headers.get("Content-Type", "").split(";")[0], "name": file_name(answer.headers)}
    if answer.content.startswith(b"\x89PNG"):
        found["side"] = struct.unpack(">II", answer.content[16:24])
    return found


def anonymous(client: Client, where: str) -> dict:
    return fetch(Client(client.base_url), OLD_DOWNLOAD + where, allow_remote="false")


def file_name(headers) -> str:
    disposition = headers.get("Content-Disposition", "")
    if found := re.search(r"filename\*=utf-8''([^;]*)", disposition, re.IGNORECASE):
        return unquote(found[1])
    if found := re.search(r'filename="((?:[^"\\]|\\.)*)"', disposition):
        return re.sub(r"\\(.)", r"\1", found[1])
    found = re.search(r"filename=([^;]*)", disposition)
    return unquote(found[1]) if found else ""
