#!/usr/bin/env python3
"""Puts the playground's page together: build.py GLUE.js MODULE.wasm OUT.html. What is written by hand (this folder, and the
engine beside it) goes in by a hash, too, so that a test can tell whether a page is older than its sources: build.py --hash
prints it. scripts/playground calls this."""

import base64
import gzip
import hashlib
import json
import os
import re
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = ["text_en.js", "text_zh.js", "draw.js", "grid.js", "experiments.js", "controls.js", "main.js"]


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def sources_hash():
    """Of the page's sources and the engine's; not of the library's, whose every change would ask for another page."""
    digest = hashlib.sha256()
    for folder in (os.path.dirname(FOLDER), FOLDER):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and name.endswith((".h", ".cc", ".html", ".css", ".js", ".json", ".py")):
                with open(path, "rb") as file:
                    content = file.read()
                digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def build(glue, module, out):
    with open(glue, encoding="utf-8") as file:
        glue_text = file.read()
    with open(module, "rb") as file:
        wasm = base64.b64encode(gzip.compress(file.read(), 9, mtime=0)).decode()  # a fifth; browsers unpack it
    experiments = f"const EXPERIMENTS = {json.dumps(json.loads(read('experiments.json')), separators=(',', ':'))};\n"
    parts = {"SOURCES": sources_hash(), "STYLE": read("page.css"), "GLUE": glue_text, "WORKER": read("worker.js"),
             "WASM": wasm, "SCRIPT": experiments + "".join(read(name) for name in SCRIPTS)}
    for name in ("GLUE", "WORKER", "SCRIPT"):
        if "</script" in parts[name]:
            sys.exit(f"error: {name} would end its element of the page")
    page = re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], read("page.html"))
    with open(out, "w", encoding="utf-8") as file:
        file.write(page)
    print(f"{out}: {os.path.getsize(out) / 1e6:.2f} MB, sources {parts['SOURCES']}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--hash"]:
        print(sources_hash())
    elif len(sys.argv) == 4:
        build(*sys.argv[1:])
    else:
        sys.exit(__doc__)
