# Compares what a program printed with what a page says that it prints. Words and whole numbers have to be the same, and
# numbers with decimals may differ by one unit of the last decimal that the page shows: another compiler or processor may
# round otherwise. A number behind "~", such as ~12.5 ms, was measured: any number will do.
#   awk -f compare_output.awk PAGE_TEXT OUTPUT

function is_number(text) { return text ~ /^[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$/ }
# What stands around the number of a word, as in "(0.25," or "12%": the word without it.
function number_of(word) { return match(word, /[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/) ? substr(word, RSTART, RLENGTH) : "" }
function around(word) { return match(word, /[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/) \
  ? substr(word, 1, RSTART - 1) "#" substr(word, RSTART + RLENGTH) : word }
function unit(number,  mantissa, decimals) {
  mantissa = number
  sub(/e.*/, "", mantissa)
  decimals = index(mantissa, ".") ? length(mantissa) - index(mantissa, ".") : 0
  return 10 ^ -decimals * (number ~ /e/ ? 10 ^ substr(number, index(number, "e") + 1) : 1)
}
function same(wanted, got,  a, b) {
  if (wanted == got) return 1
  if (around(wanted) != around(got)) return 0
  if (wanted ~ /~/) return 1
  a = number_of(wanted)
  b = number_of(got)
  if (!is_number(a) || !is_number(b) || a !~ /[.e]/) return 0
  return (a - b < 0 ? b - a : a - b) <= 1.001 * unit(a)
}
FNR == NR { wanted[++lines] = $0; next }
{
  at = FNR
  fields = split(wanted[at], words)
  ok = at <= lines && fields == NF
  for (i = 1; ok && i <= NF; i++) ok = same(words[i], $i)
  if (!ok && !failed++) printf "line %d: the page says\n  %s\nand the program\n  %s\n", at, wanted[at], $0
}
END {
  if (FNR != lines && !failed++) printf "the page has %d lines, the program printed %d\n", lines, FNR
  exit failed > 0
}
