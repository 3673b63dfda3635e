"""Prints what the command is made of for a target, under which licences, and their texts.

    python scripts/packaging/licences.py TARGET DIRECTORY-OF-ZIG'S-LIBRARIES
"""

import json
import subprocess
import sys
from pathlib import Path

# Texts are named like this at the top of a crate.
NAMES = ("licen", "copying", "notice", "unlicense", "copyright")
# Texts deeper in a crate, for what it has from others. One that links something, as its manifest says, must be named here.
DEEPER = {
    "bzip2-sys": ["bzip2-*/LICENSE"],
    "libmimalloc-sys": ["c_src/mimalloc/v*/LICENSE"],
    "libsqlite3-sys": [],  # SQLite is in the public domain
    "libz-sys": ["src/zlib/LICENSE"],
    "lz4-sys": ["liblz4/lib/LICENSE"],
    "rayon-core": [],
    "regex-syntax": ["src/unicode_tables/LICENSE-UNICODE"],
    "ring": ["src/polyfill/once_cell/LICENSE-*", "third_party/fiat/LICENSE"],
    "rust-librocksdb-sys": [
        "rocksdb/LICENSE.*",
        "rocksdb/utilities/transactions/lock/range/range_tree/lib/COPYING.APACHEv2",
        "snappy/COPYING",
    ],
    "tracing-core": ["src/spin/LICENSE"],
    "zstd-sys": ["zstd/LICENSE"],
}
# What the compilers add: names, licences, texts below zig's libraries.
ADDED = [
    ("Rust's standard library", "MIT OR Apache-2.0", []),
    ("libc++, libc++abi, libunwind and compiler-rt of LLVM", "Apache-2.0 WITH LLVM-exception", ["libcxx/LICENSE.TXT"]),
]
MUSL = ("musl", "MIT", ["libc/musl/COPYRIGHT"])


def crates(target: str) -> list[dict]:
    """The crates that are linked into the command; those of build scripts and tests are not."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    waiting = [id for id, package in packages.items() if package["name"] == "importer"]
    seen = set(waiting)
    while waiting:
        for needed in nodes[waiting.pop()]:
            if needed["pkg"] not in seen and any(kind["kind"] is None for kind in needed["dep_kinds"]):
                seen.add(needed["pkg"])
                waiting.append(needed["pkg"])
    found = [packages[id] for id in seen if packages[id]["source"]]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(crate: dict) -> list[Path]:
    top = Path(crate["manifest_path"]).parent
    found = [file for file in top.iterdir() if file.is_file() and file.name.lower().startswith(NAMES)]
    if crate["links"] and crate["name"] not in DEEPER:
        sys.exit(f"licences: {crate['name']} links `{crate['links']}`: say in {__file__} where its licences are")
    for pattern in DEEPER.get(crate["name"], []):
        matching = list(top.glob(pattern))
        if not matching:
            sys.exit(f"licences: {crate['name']} {crate['version']} has no {pattern}")
        found += matching
    return sorted(found)


def main() -> None:
    target, zig = sys.argv[1], Path(sys.argv[2])
    print(f"What the command `importer` for {target} is made of, and under which licences, as each part says.\n"
          "Where alternatives are named, any of them may be chosen. The texts follow, each with its parts.\n")
    users: dict[str, list[str]] = {}
    forms: dict[str, str] = {}

    def add(user: str, file: Path) -> None:
        text = file.read_text(encoding="utf-8", errors="replace")
        same = " ".join(text.split())
        forms.setdefault(same, text)
        named = users.setdefault(same, [])
        if user not in named:
            named.append(user)

    for name, licence, files in ADDED + ([MUSL] if target.endswith("-musl") else []):
        print(f"{name}: {licence}")
        for file in files:
            add(name, zig / file)
    for crate in crates(target):
        name = f"{crate['name']} {crate['version']}"
        found = texts(crate)
        notes = [crate["license"] or f"see {crate['license_file']}", *filter(None, [crate["repository"]])]
        if not found:
            notes += [*crate["authors"], "comes without a text of its own"]
        print(f"{name}: {', '.join(notes)}")
        for file in found:
            add(name, file)

    for same, named in users.items():
        print(f"\n{'=' * 78}\n{', '.join(named)}:\n\n{forms[same].strip()}")


if __name__ == "__main__":
    main()
