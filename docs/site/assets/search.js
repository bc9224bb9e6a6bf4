// What the theme's search makes of what a reader typed: words are what the index takes for words (mkdocs.yml), "words in quotes" are
// all wanted, and so is every Chinese character, each of which is a word of the index (docs/site/hooks.py).
var __search = {
  transform: (query) =>
    query
      .replace(/"([^"]*)"/g, (_, words) => words.replace(/[\p{L}\p{N}_]+/gu, "\t$&"))
      .replace(/[^\p{L}\p{N}_\t]+/gu, " ")
      .replace(/[\u3400-\u9fff]/g, " \t$& ")
      .replace(/\s*\t\s*/g, " +")
      .replace(/ +/g, " ")
      .trim(),
};
