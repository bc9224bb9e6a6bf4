#!/usr/bin/env bash
# Tests scripts/check_links on a small site of its own. check_links_test.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { printf 'FAILED: %s\n--- output:\n%s\n' "$*" "$(cat output)" >&2; exit 1; }
check() { "$root/scripts/check_links" site >output 2>&1; }

mkdir -p site/course site/fonts
touch site/picture.svg site/fonts/a.woff2 site/script.js
echo '@font-face { src: url(fonts/a.woff2) format("woff2"), url("fonts/a.woff2#x") } a { background: url(data:image/png;base64,AA) }' >site/style.css
echo '<h1 id="top">Lesson</h1><a name="old"></a><h2 id="中文">2</h2>' >site/course/index.html
cp -r site good

# page TEXT [SAID]: of this text on a page only this is said; or, without SAID, nothing.
page() {
  rm -rf site && cp -r good site
  printf '<p id="here">1</p>\n%s\n' "$1" >site/page.html
  if [[ -n ${2-} ]]; then
    if check; then fail "accepts $1"; fi
    [[ $(cat output) == "site/page.html:2: $2" ]] || fail "says something else of $1 than: $2"
  else
    check || fail "refuses $1"
    grep -qx '==> 3 pages and style sheets, in which every link leads somewhere' output || fail "tells nothing"
  fi
}

page '<a href="course/index.html">1</a> <a href="course/">1</a> <a href="course">1</a> <a href="#here">1</a> <a href="?q=x#here">1</a>'
page '<a href="course/index.html#top">1</a> <a href="./course/../course/#old">1</a> <a href="course/#%E4%B8%AD%E6%96%87">1</a>'
page '<a href="https://example.org/none">1</a> <a href="mailto:a@example.org">1</a> <iframe src="javascript:void(0)"></iframe>'
page '<img src="picture.svg"><link href="style.css"><script src="script.js"></script><p data="x" style="background: url(picture.svg)">'
page '<script>document.write("<a href=none.html>")</script><!-- <a href="none.html"> -->'

page '<a href="none.html">1</a>' "none.html leads nowhere: there is no site/none.html"
page '<a href="course/none.html#top">1</a>' "course/none.html#top leads nowhere: there is no site/course/none.html"
page '<a href="fonts/">1</a>' "fonts/ leads nowhere: there is no site/fonts/index.html"
page '<a href="../good/style.css">1</a>' "../good/style.css leads nowhere: there is no good/style.css"
page '<a href="/page.html">1</a>' "/page.html leads out of the folder"
page '<a href="#none">1</a>' "#none leads nowhere: site/page.html has no #none"
page '<a href="course/#none">1</a>' "course/#none leads nowhere: site/course/index.html has no #none"
page '<img src="none.svg">' "none.svg leads nowhere: there is no site/none.svg"
page '<p style="background: url(none.png)">' "none.png leads nowhere: there is no site/none.png"
page '<style>p { background: url(none.png) }</style>' "none.png leads nowhere: there is no site/none.png"
for network in 'https://example.org/a' '//example.org/a' 'HTTP://example.org/a'; do
  page "<script src=\"$network\"></script>" "$network is loaded from a network"
  page "<link href=\"$network\">" "$network is loaded from a network"
  page "<img src='$network'>" "$network is loaded from a network"
  page "<style>@import '$network';</style>" "$network is loaded from a network"
done

rm -rf site && cp -r good site
printf 'a {\n  background: url(none.png)\n}\n' >site/style.css
if check; then fail "accepts a style that leads nowhere"; fi
grep -qx 'site/style.css:2: none.png leads nowhere: there is no site/none.png' output || fail "does not name the style"

rm -rf site && mkdir site
if check; then fail "accepts a site without pages"; fi
if "$root/scripts/check_links" none >output 2>&1; then fail "accepts a folder that is not there"; fi
echo "scripts/check_links: all as it should be"
