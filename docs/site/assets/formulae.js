// Draws the formulae that pymdownx.arithmatex has marked, as \(...\) or \[...\], by KaTeX. One that KaTeX cannot read stays visible
// as it is written, in red.
for (const element of document.querySelectorAll(".arithmatex")) {
  const formula = element.textContent.trim();
  const displayMode = formula.startsWith("\\[");
  katex.render(formula.slice(2, -2), element, {displayMode, throwOnError: false});
  // A comma or a bracket behind a formula stays in its line.
  const next = element.nextSibling;
  const mark = !displayMode && next?.nodeType === Node.TEXT_NODE && next.data.match(/^[^\s\p{L}\p{N}]+/u);
  if (mark) {
    const together = document.createElement("span");
    together.className = "formula";
    element.replaceWith(together);
    together.append(element, mark[0]);
    next.data = next.data.slice(mark[0].length);
  }
}
