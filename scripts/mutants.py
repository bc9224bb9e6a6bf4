"""What scripts/mutate may change in the text of a C++ file, and which of it a sample has: see docs/mutation.md."""
import collections
import pathlib
import random
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent

Mutant = collections.namedtuple("Mutant", "file line operator before after begin end text")

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^()\s\\]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"'
                   r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|^[ \t]*\#(?:\\\n|[^\n])*", re.S | re.M)
MESSAGE = re.compile(r"\b(?:check|format)\(")
BLANKED_CALL = re.compile(r"\b(?:static_assert|alignas|NORMA_\w+)\s*\(")
CONTROL = {"if", "for", "while", "switch", "catch"}
KEYWORDS = re.compile(r"(?:return|if|for|while|switch|case|default|break|continue|using|class|struct|enum|template|namespace"
                      r"|throw|else|do|goto|friend|public|private|protected|operator)\b")
OPEN, CLOSE = "([{", ")]}"


def closing(code, at):
    """The place of the bracket that closes the one at `at`, or -1."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] in OPEN) - (code[i] in CLOSE)
        if depth == 0:
            return i
    return -1


def blank(code, begin, end, by=" "):
    return code[:begin] + re.sub(r"[^\n]", by, code[begin:end]) + code[end:]


def arguments(code, begin, end):
    """The places of what stands between the commas of code[begin:end] that are in no inner bracket."""
    found, depth, start = [], 0, begin
    for i in range(begin, end + 1):
        if i == end or (code[i] == "," and depth == 0):
            word = re.compile(r"\s*(.*?)\s*", re.S).fullmatch(code, start, i)
            found.append((word.start(1), word.end(1)))
            start = i + 1
        else:
            depth += (code[i] in OPEN) - (code[i] in CLOSE)
    return found


def code_of(text):
    """The text without what no mutant changes, of the same length and lines: blanks in place of comments, strings, preprocessor
    lines, static_assert, the project's macros, and what messages of errors are made of; "_" of template arguments."""
    def hide(match):
        quote = '"' if '"' in match[0][:2] else " "  # strings leave their quotes: code that has them is a message
        return quote + re.sub(r"[^\n]", " ", match[0][1:-1]) + quote if len(match[0]) > 1 else match[0]
    code = TOKEN.sub(hide, text)
    for call in BLANKED_CALL.finditer(code):
        code = blank(code, call.start(), closing(code, call.end() - 1) + 1)
    for call in MESSAGE.finditer(code):  # check(condition, op, message, ...): from the message on
        end = closing(code, call.end() - 1)
        texts = [part for part in arguments(code, call.end(), end) if code[part[0]:part[0] + 1] == '"']
        if texts:
            code = blank(code, texts[0][0], end)
    while True:  # a<b<c>>, from the inside; operators have blanks around them
        inner = re.search(r"(?:(?<=[\w\])])|(?<=\btemplate ))<[^<>;\"]*>", code)
        if not inner:
            return code.replace('"', " ")
        code = blank(code, *inner.span(), by="_")


def statements(code):
    """The places of whole expression statements: calls, assignments and increments, without what declares or controls."""
    head = re.compile(r"(?:\+\+|--|\*)?[A-Za-z_][\w:]*")
    change = re.compile(r"\s*(?:[-+*/|&^]?=(?!=)|\+\+|--)")
    i = 0
    starts = [match.end() for match in re.finditer(r"[;{}]\s*|\belse\s+", code)]
    for control in re.finditer(r"\b(?:if|for|while)(?: constexpr)? ?\(", code):
        end = closing(code, control.end() - 1)
        starts.append(re.compile(r"\s*").match(code, end + 1).end())
    for start in sorted(set(starts)):
        first = head.match(code, start)
        if not first or KEYWORDS.match(code, start):
            continue
        i, called = first.end(), code[start:start + 2] in ("++", "--")
        while True:  # a(...).b[...]->c
            i = re.compile(r"_*(?=\()|").match(code, i).end()  # the template arguments of an operator()
            if code[i:i + 1] in ("(", "["):
                called, i = code[i] == "(", closing(code, i) + 1
                continue
            member = re.compile(r"(?:\.|->)(?:template )?\w+").match(code, i)
            if not member:
                break
            called, i = False, member.end()
        assigned = change.match(code, i)
        if not assigned and not (called and code[i:i + 1] == ";"):
            continue
        depth, end = 0, i
        while end < len(code) and depth >= 0 and not (code[end] == ";" and depth == 0):
            depth += (code[end] in OPEN) - (code[end] in CLOSE)
            end += 1
        if depth == 0 and end < len(code) and not re.search(r"= (?:default|delete|0)$", code[start:end]):
            yield start, end


def edits(text, code):
    """(operator, begin, end, replacement): everything that may be changed."""
    for match in re.finditer(r"(?<![\w.])(\d[\d']*)(\.\d+)?(e[+-]?\d+)?([fFuUlL]*)(?![\w.])", code):
        number, place = match[0], match.span()
        if re.search(r"(?:\)|const|override) = $", code[max(0, place[0] - 12):place[0]]):
            continue  # a pure virtual function
        if match[2] or match[3]:
            yield "constant", *place, f"(2 * {number})"
            continue
        value, suffix = int(match[1].replace("'", "")), match[4]
        yield "constant", *place, f"{1 if value == 0 else 0 if value == 1 else value + 1}{suffix}"
        if value:
            yield "constant", *place, f"{2 if value == 1 else value - 1}{suffix}"
    for match in re.finditer(r"(?<= )(<=|>=|==|!=|<|>)(?=[ \n])", code):
        for other in {"<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("!=",),
                      "!=": ("==",)}[match[0]]:
            yield "comparison", *match.span(), other
    for match in re.finditer(r"(?<= )([-+*/])(?=[ \n])|(?<= )[-+*/]=(?= )", code):
        yield "sign", *match.span(), match[0].translate(str.maketrans("+-*/", "-+/*"))
    for match in re.finditer(r"(?:(?<=[(\[{])|(?<=[=,?:*] )|(?<=return ))-(?=[A-Za-z_(])", code):
        yield "sign", *match.span(), ""
    for match in re.finditer(r"(?<= )(?:&&|\|\|)(?=[ \n])", code):
        yield "logic", *match.span(), "||" if match[0] == "&&" else "&&"
    for match in re.finditer(r"\bif(?: constexpr)? \(", code):
        end = closing(code, match.end() - 1)
        begin = code.rfind(";", match.end(), end) + 1 or match.end()
        condition = code[begin:end]
        doubled = condition.startswith("!") and not re.search(r"&&|\|\|", condition)  # that "!" goes below
        if end > 0 and not doubled and not re.search(r"[\w&*] \w+ = |\w [*&]\w+ = ", condition):
            yield "logic", begin, end, None  # all of it negated
    for match in re.finditer(r"(?<![\w)\]])!(?=[A-Za-z_(])", code):
        yield "logic", *match.span(), ""
    for match in re.finditer(r"\b(min|max|minimum|maximum)(?=_*\()", code):
        yield "min max", *match.span(), {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}[match[0]]
    for match in re.finditer(r"\b(true|false)\b", code):
        yield "true false", *match.span(), "false" if match[0] == "true" else "true"
    for match in re.finditer(r"\bfor \([^;{]*; [\w.]+ (?:<|<=) ([^;]+);", code):
        yield "off by one", match.end(1), match.end(1), " - 1"
    for begin, end in statements(code):
        yield "dropped", begin, end, ""
    for match in re.finditer(r"\b(\w+)\(|(?<=[\w(=,] )\{|(?<=[\w(])\{", code):
        begin = match.end()
        end = closing(code, begin - 1)
        enumeration = "enum " in code[code.rfind("\n", 0, begin):begin]
        declared = re.search(r"[;{}\[]|\w[&*]* [&*]*\w", code[begin:end])  # or a lambda
        if match[1] in CONTROL or enumeration or end < 0 or declared:
            continue
        parts = arguments(code, begin, end)
        for (a, b), (c, d) in zip(parts, parts[1:]):
            if a < b and c < d and text[a:b] != text[c:d] and '"' not in text[a:d]:
                yield "swapped", a, d, text[c:d] + text[b:c] + text[a:b]


def mutants_of(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    code = code_of(text)
    found, seen = [], collections.Counter()
    for operator, begin, end, new in edits(text, code):
        if new is None:
            new = f"!({text[begin:end]})" if text[begin] != " " else f" !({text[begin + 1:end]})"
        first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end)
        before = " ".join(text[first:last].split())
        after = " ".join((text[first:begin] + new + text[end:last]).split())
        seen[before, after] += 1
        if before != after and seen[before, after] == 1:
            found.append(Mutant(file, text.count("\n", 0, begin) + 1, operator, before, after, begin, end, new))
    return found


def sample(mutants, seed, file):
    """The mutants in the order in which they are tried: operators in turn, so that a few constants more are not all there is."""
    chance, by_operator, order = random.Random(f"{seed}:{file}"), collections.defaultdict(list), []
    for mutant in mutants:
        by_operator[mutant.operator].append(mutant)
    for group in by_operator.values():
        chance.shuffle(group)
    while by_operator:
        for operator in chance.sample(sorted(by_operator), len(by_operator)):
            order.append(by_operator[operator].pop())
            if not by_operator[operator]:
                del by_operator[operator]
    return order


def lines_of_code(file):
    return sum(1 for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if re.match(r"\s*(?!//)\S", line))


def choose(files, count, seed):
    """Of each file as many as its lines of code are of all; all of them if no count is given."""
    lines = {file: lines_of_code(file) for file in files}
    chosen, total, before = [], sum(lines.values()), 0
    for file in files:
        order = sample(mutants_of(file), seed, file)
        share = round((before + lines[file]) * count / total) - round(before * count / total) if count else len(order)
        before += lines[file]
        chosen += sorted(order[:share], key=lambda mutant: mutant.begin)
    return chosen
