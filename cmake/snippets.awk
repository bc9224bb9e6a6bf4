# Prints what stands in the fenced blocks of a Markdown file whose first line is ```cpp file=NAME, or ```text file=NAME.
#   awk -v want=NAME -f cmake/snippets.awk DOCUMENT
/^```/ {
  if (inside) { inside = 0; next }
  if ($2 == "file=" want) { inside = found = 1; next }
}
inside { print }
END { if (!found) { print "no block with file=" want > "/dev/stderr"; exit 1 } }
