# What Doxygen is to read in place of a header of this project, whose comments are plain ones: those in front of a declaration
# become ///, those behind it ///<, and the one that begins a file describes the file. What is private is not for a reader of the
# reference, and hidden from Doxygen, which would link to lists of private classes that it does not write. Used by scripts/docs.

# Text as Doxygen's Markdown, in which it would otherwise find markup; what stands in backquotes is code already.
function escaped(text,  parts, n, i, part, result) {
  n = split(text, parts, "`")
  for (i = 1; i <= n; i++) {
    part = parts[i]
    if (i % 2 == 1 || n % 2 == 0) {
      gsub(/\\/, "\\\\", part)
      gsub(/&/, "\\&amp;", part)
      gsub(/</, "\\&lt;", part)
      gsub(/>/, "\\&gt;", part)
      gsub(/[@#*~|%]/, "\\\\&", part)
    }
    result = result (i == 1 ? "" : n % 2 == 0 ? "\\`" : "`") part
  }
  return result
}

# A line of a comment. Indented lines are code, unless they go on with an item of a list.
function text_of(line,  indent) {
  sub(/^\/\//, "", line)
  indent = match(line, /[^ ]/) ? RSTART - 1 : 0
  if (indent == 0) in_list = 0
  in_list = line ~ /^ - / || (in_list && indent >= 3)
  in_code = indent >= 3 && !in_list
  return in_code ? "    " line : escaped(line)
}

FNR == 1 { first = 1 }

/^ *\/\// {
  match($0, /\/\//)
  margin = substr($0, 1, RSTART - 1)
  if ($0 ~ /^ *\/\/ ---/) {  # the title of a part of the file
    print ""
    next
  }
  if (first == 1) print "/// @file"
  if (first == 1) first = 2
  was_code = in_code
  line = text_of(substr($0, RSTART))
  if (in_code != was_code) print margin "///"
  print margin "///" line
  next
}

{
  if (first == 2) print ""
  first = in_code = in_list = 0
  if ($0 ~ /^template </) {  # held back until it is known what it is of
    held = held $0 "\n"
    next
  }
  if ($0 ~ /^struct fmt::formatter/) {  # of no use to a reader
    held = ""
    print ""
    next
  }
  # A comment behind a whole declaration or an enumerator; another is about the code before it.
  if (match($0, /[;,}A-Za-z0-9_]  \/\/ /)) {
    code = substr($0, 1, RSTART)
    if (code ~ /[;,}]$/ || code ~ /^ *[a-z_0-9]+$/) code = code "  ///<" escaped(substr($0, RSTART + 5))
    $0 = code
  }
  if (is_private && /^(};| public:| protected:)/) {
    is_private = 0
    $0 = "/** @endcond */ " $0
  }
  if (/^ private:/) {
    is_private = 1
    $0 = $0 "  /** @cond */"
  }
  printf "%s", held
  held = ""
  print
}
