"""What mkdocs does to the pages of this project that they, written for GitHub, do not say themselves. mkdocs.yml names this file.

  - Pages outside of docs/ that are linked to become pages of the site: the project's README.md, for one, in a folder "project".
  - A link to a header leads to its page of the reference; one to another source, or to a folder, leads to a page that shows it.
  - A block fenced as ```cpp file=NAME gets the name as its title.
  - The reference, built by Doxygen before (scripts/docs), and KaTeX, which draws the formulae, become parts of the site.
  - Lessons and pages in Chinese get into the navigation by their names; Chinese can be searched for, character by character.

Not here: whether links lead somewhere. mkdocs tells for pages, scripts/check_links for the site as it comes out."""

import json
import logging
import pathlib
import posixpath
import re
import warnings
import xml.etree.ElementTree

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "build/reference"
KATEX = pathlib.Path("/usr/share/javascript/katex")  # of Debian's libjs-katex
LANGUAGES = {".h": "cpp", ".cc": "cpp", ".cu": "cpp", ".py": "python", ".json": "json", ".sh": "bash", ".cmake": "cmake"}
KEPT = (".svg", ".png", ".jpg", ".csv", ".json", ".jsonl")
FENCE = r"^(?P<fence>`{3,})(?P<language>\w*)(?: +file=(?P<name>\S+))?[^\n]*\n.*?^(?P=fence)[ ]*$"
LINK = r"\]\((?P<target>[^)\s]+)\)"
TOKEN = re.compile(rf"{FENCE}|`[^`\n]*`|{LINK}|\\<", re.M | re.S)
HAN = re.compile(r"([\u3400-\u9fff])")
log = logging.getLogger("mkdocs.plugins.norma")
warnings.filterwarnings("ignore", "invalid escape sequence", DeprecationWarning)  # of the theme's own templates
logging.getLogger("mkdocs.structure.nav").setLevel(logging.WARNING)  # says that pages of sources are not in the navigation

pages = {}   # path in the repository -> path in the site, before mkdocs makes it .html: a page's, or that of what shows a source
origin = {}  # and back
headers = {}  # path of a header -> its page of the reference


def site_path(path):
    """Where the page with this path in the repository is in the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if "/" in path else f"project/{path.lower()}"


def source_path(path):
    return f"source/{path}/index.md" if (ROOT / path).is_dir() else f"source/{path}.md"


def target_of(path, link):
    """The file that a link of this page leads to, as a path in the repository, and the anchor; or None, where that is elsewhere."""
    target, hash_mark, anchor = link.partition("#")
    if not target or re.match(r"\w+:", target):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target)), hash_mark + anchor


def is_kept(path):
    """Whether this is a part of docs/ that the site has as it is: pictures, data of measurements, the playground."""
    return path.startswith("docs/playground/") or path.startswith("docs/") and path.endswith(KEPT)


def is_chinese(uri):
    return uri.lower().endswith(".zh-cn.md")


def find_pages(begin):
    """Fills `pages` with these pages, and all that they lead to, directly or not."""
    waiting = list(begin)
    while waiting:
        path = waiting.pop()
        if path in pages or leads_to_file(path) or not (ROOT / path).exists():
            continue
        pages[path] = site_path(path) if path.endswith(".md") else source_path(path)
        waiting += targets(path)


def targets(path):
    """What a page leads to, or what is in a folder, as paths in the repository."""
    if (ROOT / path).is_dir():
        return [f"{path}/{entry.name}" for entry in sorted((ROOT / path).iterdir())]
    tokens = TOKEN.finditer((ROOT / path).read_text(encoding="utf-8")) if path.endswith(".md") else ()
    found = [target_of(path, token["target"]) for token in tokens if token["target"]]
    return [target[0] for target in found if target]


def leads_to_file(path):
    """Whether this is part of the site as it is, or has a page of the reference."""
    return is_kept(path) or path in headers


# ---- what mkdocs calls, in the order in which it does ----

def on_config(config):
    config.theme.static_templates -= {"404.html", "sitemap.xml"}  # which want to know the address of the site


def on_files(files, config):
    if not (REFERENCE / "index.html").exists():
        raise PluginError(f"there is no {REFERENCE}/index.html: run scripts/docs")
    if not (KATEX / "katex.min.js").exists():
        raise PluginError(f"there is no {KATEX}/katex.min.js: install libjs-katex")
    pages.clear(), headers.clear()
    for file in xml.etree.ElementTree.parse(REFERENCE / "norma.tag").iter("compound"):
        if file.get("kind") == "file" and file.findtext("name").endswith(".h"):
            header = pathlib.Path(file.findtext("path"), file.findtext("name"))
            headers[str(header.relative_to(ROOT))] = "reference/" + file.findtext("filename")

    docs = str(ROOT / "docs")
    for file in list(files):
        if file.abs_src_path.startswith(docs):
            if file.is_documentation_page() or not is_kept(f"docs/{file.src_uri}") or file.src_uri.startswith("site/"):
                files.remove(file)
    found = [*ROOT.glob("*.md"), *(path for folder in ("docs", "bench", "tests") for path in (ROOT / folder).rglob("*.md"))]
    find_pages(str(path.relative_to(ROOT)) for path in found)
    origin.clear(), origin.update({uri: path for path, uri in pages.items()})

    def add(uri, path):
        file = File(uri, str(ROOT), config.site_dir, config.use_directory_urls)
        file.abs_src_path = str(path)
        files.append(file)

    for path, uri in pages.items():
        add(uri, ROOT / path)
    folders = {REFERENCE: "reference", KATEX: "katex", KATEX / "fonts": "katex/fonts", ROOT / "docs/site/assets": "assets"}
    for folder, uri in folders.items():
        for path in sorted(folder.glob("**/*" if folder == REFERENCE else "*")):
            if path.is_file() and not path.name.endswith((".tag", ".mjs")):
                add(f"{uri}/{path.relative_to(folder)}", path)
    complete_navigation(config)
    return files


def complete_navigation(config):
    lessons = ["course/README.md", *sorted(uri for uri in origin if re.match(r"course/\d", uri))]
    chinese = sorted((uri for uri in origin if is_chinese(uri)), key=lambda uri: (not uri.startswith("project/"), uri))
    config.nav = [{"Course": lessons} if "Course" in entry else entry for entry in config.nav]
    config.nav += [{"中文": chinese}] if chinese else []


def on_nav(nav, config, files):
    known = {page.file.src_uri for page in nav.pages}
    for path, uri in pages.items():
        if path.endswith(".md") and uri not in known:
            log.warning("%s is nowhere in the navigation (docs/site/mkdocs.yml)", path)


def on_page_read_source(page, config):
    path = origin.get(page.file.src_uri, "")
    if not path or path.endswith(".md"):
        return None
    source = ROOT / path
    if source.is_dir():
        return f"# {path}/\n\n" + "".join(f"- [{name}]({name})\n" for name in map(posixpath.basename, targets(path)))
    return f"# {source.name}\n\n`````{LANGUAGES.get(source.suffix, 'text')} title=\"{path}\"\n{source.read_text(encoding='utf-8')}\n`````\n"


def on_page_markdown(markdown, page, config, files):
    uri = page.file.src_uri
    path = origin[uri]
    folder = path if (ROOT / path).is_dir() else posixpath.dirname(path)

    def translated(token):
        if token[0] == "\\<":  # which mkdocs' Markdown does not know
            return "&lt;"
        if token["name"]:
            return token[0].replace(f"file={token['name']}", f'title="{token["name"]}"', 1)
        found = target_of(posixpath.join(folder, "_"), token["target"]) if token["target"] else None
        if not found:
            return token[0]
        target, anchor = found
        if target in headers:
            there, anchor = headers[target], ""
        elif target in pages:
            there = pages[target]
        elif target.startswith("docs/"):
            there = target.removeprefix("docs/")
        else:
            return token[0]
        return f"]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{anchor})"

    return TOKEN.sub(translated, markdown)


def on_page_context(context, page, config, nav):
    config.theme["language"] = "chinese" if is_chinese(page.file.src_uri) else "english"


def on_post_build(config):
    """Chinese has no spaces: each character becomes a word of the index, by spaces of no width. assets/search.js does so to what
    is searched for."""
    index = pathlib.Path(config.site_dir, "search/search_index.json")
    content = json.loads(index.read_text(encoding="utf-8"))
    content["docs"] = [entry for entry in content["docs"] if not entry["location"].startswith("source/")]
    for entry in content["docs"]:
        for field in "title", "text":
            entry[field] = HAN.sub("\u200b\\1\u200b", entry[field])
    index.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
