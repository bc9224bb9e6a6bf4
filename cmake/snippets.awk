# Prints the code of the fenced blocks of a Markdown file whose first line is ```cpp file=NAME.   awk -v want=NAME -f ...
/^```/ {
  if (inside) { inside = 0; next }
  if ($0 == "```cpp file=" want) { inside = found = 1; next }
}
inside { print }
END { if (!found) { print "no block with file=" want > "/dev/stderr"; exit 1 } }
