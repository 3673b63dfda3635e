"""Starting and stopping the laboratory's Synapse."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests
import signedjson.key
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import postgres
from notes import Notes

SERVER_NAME = "family.test"
START_SECONDS = 90
STOP_SECONDS = 30


def meet(labs: list[Notes]) -> None:
    """Tells servers where the others are: they find each other by a file."""
    ports = {}
    for lab in labs:
        lab.dir.mkdir(parents=True, exist_ok=True)
        lab.setdefault("server_name", SERVER_NAME)
        ports[lab["server_name"]] = lab["federation_port"] = free_port()
    file = labs[0].dir / "federation.json"
    file.write_text(json.dumps(ports))
    for lab in labs:
        lab["federation"] = str(file)


def start(lab: Notes, engine: str | None, default_limits: bool = False, quiet: Path | None = None,
          port: int | None = None) -> None:
    """Starts Synapse and waits until it answers. It has been told of others by `meet`. `quiet` is a second file of
    configuration, whose first listener is the one that counts."""
    if quiet:
        port = yaml.safe_load(quiet.read_text())["listeners"][0]["port"]
    settle(lab, engine, default_limits, port)
    files = ["-c", lab["config"], *(["-c", str(quiet)] if quiet else [])]
    output = open(lab.dir / "synapse.out", "w")  # noqa: SIM115: it is Synapse's
    launcher = Path(__file__).with_name("homeserver.py")
    process = subprocess.Popen([sys.executable, "-P", launcher, *files], cwd=lab.dir,
                               env=os.environ | {"LAB_FEDERATION": lab["federation"]}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                               start_new_session=True)
    lab["pid"] = process.pid
    lab.save()
    wait_until_it_answers(lab, process)


def settle(lab: Notes, engine: str | None, default_limits: bool = False, port: int | None = None) -> None:
    """Writes all that Synapse needs in this place, and starts its database."""
    if running(lab):
        raise SystemExit(f"it runs already, at {lab['base_url']}")
    lab.setdefault("engine", engine or "sqlite")
    if engine not in (None, lab["engine"]):
        raise SystemExit(f"this laboratory uses {lab['engine']}")
    for secret in ("registration_secret", "pepper", "macaroon_secret", "form_secret"):
        lab.setdefault(secret, secrets.token_hex(16))
    lab["config"] = str(lab.dir / "homeserver.yaml")
    lab["signing_key"] = str(lab.dir / "signing.key")
    lab["admin_token_file"] = str(lab.dir / "admin.token")
    port = port or free_port()
    lab["base_url"] = f"http://127.0.0.1:{port}"
    write_signing_key(Path(lab["signing_key"]))
    write_certificate(lab)
    if lab["engine"] == "postgres":
        if not postgres.running(lab.dir / "postgres"):
            lab["database"] = {"name": "psycopg2", "args": postgres.start(lab.dir / "postgres")}
    else:
        lab["database"] = {"name": "sqlite3", "args": {"database": str(lab.dir / "homeserver.db")}}
    write_config(lab, port, default_limits)
    lab.save()


def stop(lab: Notes) -> None:
    """Stops what `start` started; does nothing if nothing runs."""
    quit(lab)
    if lab.get("engine") == "postgres" and (lab.dir / "postgres/postmaster.pid").exists():
        postgres.stop(lab.dir / "postgres", lab["database"]["args"]["host"])


def quit(lab: Notes) -> None:
    """Stops Synapse, but not its database."""
    if running(lab):
        os.kill(lab["pid"], signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running(lab):
            if time.monotonic() > deadline:
                os.kill(lab["pid"], signal.SIGKILL)
            time.sleep(0.1)
    lab.pop("pid", None)
    lab.save()


def running(lab: Notes) -> bool:
    """Whether the noted process lives and is this laboratory's Synapse; a copied note names another's."""
    try:
        command = Path(f"/proc/{lab['pid']}/cmdline").read_bytes().split(b"\0")
    except (KeyError, OSError):
        return False
    return os.fsencode(lab.dir / "homeserver.yaml") in command


def wait_until_it_answers(lab: Notes, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            requests.get(lab["base_url"] + "/_matrix/client/versions", timeout=5).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.2)
    text = (lab.dir / "synapse.out").read_text()[-2000:]
    stop(lab)
    raise SystemExit(f"Synapse did not start; see {lab.dir / 'synapse.log'}\n{text}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_signing_key(path: Path) -> None:
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            signedjson.key.write_signing_keys(file, [signedjson.key.generate_signing_key("lab1")])


def write_certificate(lab: Notes) -> None:
    """A certificate for federation, which nobody checks."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, lab["server_name"])])
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
            .sign(key, hashes.SHA256()))
    (lab.dir / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path = lab.dir / "tls.key"
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption()))


def write_config(lab: Notes, port: int, default_limits: bool) -> None:
    """`homeserver.yaml`: closed registration, no servers but the laboratory's, and limits that a story never meets, unless
    those of federation are to be the default ones."""
    limit = {"per_second": 1e5, "burst_count": 100_000}
    config = {
        "server_name": lab["server_name"],
        "public_baseurl": lab["base_url"],
        "pid_file": str(lab.dir / "synapse.pid"),
        "listeners": [{
            "port": port, "tls": False, "type": "http", "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client", "federation", "media"], "compress": False}],
        }, {
            "port": lab["federation_port"], "tls": True, "type": "http", "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["federation"], "compress": False}],
        }],
        "tls_certificate_path": str(lab.dir / "tls.crt"),
        "tls_private_key_path": str(lab.dir / "tls.key"),
        "federation_verify_certificates": False,
        "ip_range_blacklist": [],
        "app_service_config_files": [lab["bridge"]] if "bridge" in lab else [],
        # A new database is to be complete at once.
        "background_updates": {"sleep_enabled": "alone" not in lab},
        "database": lab["database"],
        "log_config": str(lab.dir / "log.yaml"),
        "media_store_path": str(lab.dir / "media"),
        "signing_key_path": lab["signing_key"],
        "registration_shared_secret": lab["registration_secret"],
        "macaroon_secret_key": lab["macaroon_secret"],
        "form_secret": lab["form_secret"],
        "password_config": {"pepper": lab["pepper"]},
        "bcrypt_rounds": 4,
        "enable_registration": False,
        "report_stats": False,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "room_list_publication_rules": [{"action": "allow"}],
        "push": {"jitter_delay": 0},
        "rc_message": limit,
        "rc_registration": limit,
        "rc_login": {"address": limit, "account": limit, "failed_attempts": limit},
        "rc_joins": {"local": limit, "remote": limit},
        "rc_joins_per_room": limit,
        "rc_invites": {"per_room": limit, "per_user": limit, "per_issuer": limit},
        "rc_admin_redaction": limit,
        "rc_room_creation": limit,
        "rc_key_requests": limit,
        "rc_media_create": limit,
        "rc_federation": {} if default_limits else {
            "window_size": 1000, "sleep_limit": 1_000_000, "sleep_delay": 0,
            "reject_limit": 1_000_000, "concurrent": 50},
    }
    log = {
        "version": 1,
        "formatters": {"plain": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "formatter": "plain",
                              "filename": str(lab.dir / "synapse.log")}},
        "root": {"level": "INFO", "handlers": ["file"]},
        "disable_existing_loggers": False,
    }
    (lab.dir / "log.yaml").write_text(yaml.safe_dump(log))
    path = Path(lab["config"])
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
