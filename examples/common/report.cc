#include "examples/common/report.h"

#include <filesystem>

namespace examples {
namespace {

std::string text_of(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) result += i + k <= bytes.size() ? kDigits[three >> (18 - 6 * k) & 63] : '=';
  }
  return result;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
      case '<': result += "&lt;"; break;
      case '&': result += "&amp;"; break;
      case '"': result += "&quot;"; break;
      default: result += letter;
    }
  }
  return result;
}

const char* color(Verdict verdict) {
  constexpr const char* kColors[] = {"#00704a", "#b3261e", "#6b6b00"};  // held, did not hold, inconclusive
  return kColors[static_cast<size_t>(verdict)];
}

std::string badge(Verdict verdict) {
  return fmt::format("<b style=\"color:{}\">{}</b>", color(verdict), text(verdict));
}

std::string figure(const Finding& f, const Session& session) {
  const std::string file = session.out + "/" + f.name + ".svg";
  if (!std::filesystem::exists(file))
    return "<p>(There is no figure: gnuplot was not found. The data are in the CSV file.)</p>\n";
  return fmt::format("<div class=\"wide\"><img alt=\"{}\" {}src=\"data:image/svg+xml;base64,{}\"></div>\n",
                     escaped(f.title), f.result.tables.size() > 1 ? "class=\"two\" " : "", base64(text_of(file)));
}

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 0 1rem 3rem; color: #222; background: #fff }
h2 { margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem }
.wide { overflow-x: auto } img { max-width: 100%; height: auto } img.two { max-width: none; width: 100%; min-width: 44rem }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; color: #555 } th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } td.say { white-space: normal; text-align: left }
@media (max-width: 40rem) { th, td { padding: .2rem .3rem; white-space: normal } table { width: 100% } }
pre { overflow-x: auto; background: #f5f5f5; padding: .6rem; font-size: .8rem } blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 4px solid #ccc }
</style></head><body>
)";

std::string parts_table(const Finding& f) {
  std::string text =
      "<div class=\"wide\"><table><tr><th>part of the claim</th><th>measured</th><th>to hold</th><th></th></tr>\n";
  for (const Part& p : f.result.parts)
    text += fmt::format("<tr><td class=\"say\">{}</td><td>{}</td><td class=\"say\">{}</td><td>{}</td></tr>\n",
                        escaped(p.claim), p.str(), p.rule, badge(p.verdict));
  return text + "</table></div>\n";
}

std::string markdown_of(const Finding& f, const std::string& picture) {
  std::string text_ = fmt::format("**{}.** {}\n\n", text(f.verdict()), why(f.result.parts));
  if (!picture.empty()) text_ += fmt::format("![{}]({})\n\n", f.title, picture);
  text_ += "| part of the claim | measured | to hold | |\n| --- | --- | --- | --- |\n";
  for (const Part& p : f.result.parts)
    text_ += fmt::format("| {} | {} | {} | {} |\n", p.claim, p.str(), p.rule, text(p.verdict));
  for (const Table& t : f.result.tables)
    if (t.on_pages()) text_ += "\n" + t.markdown();
  return text_;
}

std::string summary(const std::vector<Finding>& findings, const Session& session) {
  std::string text_ = "| experiment | claim | |\n| --- | --- | --- |\n";
  std::string names;
  double seconds = 0;
  for (const Finding& f : findings) {
    names += (names.empty() ? "" : " ") + f.name;
    text_ += fmt::format("| [{0}](#{0}) | {1} | {2} |\n", f.name, f.claim, text(f.verdict()));
    seconds += f.seconds;
  }
  if (findings.empty()) return text_;
  const auto& c = findings[0].conditions;
  return text_ + fmt::format(
                     "\nMeasured on {}: {} pictures for training, {} for testing, {} seed{}, in {:.0f} minutes, by\n\n"
                     "```\n{}\n```\n",
                     session.data, c.at("train").get<int64_t>(), c.at("test").get<int64_t>(),
                     c.at("seeds").get<int64_t>(), c.at("seeds") == 1 ? "" : "s", seconds / 60,
                     session.command(findings.size() == session.study.experiments.size() ? "all" : names));
}

// What stands between the marks of a name: from where, to where.
std::pair<size_t, size_t> place(const std::string& content, const std::string& page, const Study& study,
                                const std::string& name) {
  const std::string mark = fmt::format("<!-- {} {} -->\n", study.name, name);
  const size_t begin = content.find(mark), end = content.find("<!-- end -->", begin);
  check(begin != std::string::npos && end != std::string::npos, "--markdown", "'{}' has no lines {}and <!-- end -->",
        page, mark);
  return {begin + mark.size(), end};
}

}  // namespace

void check_markdown(const std::string& page, const Study& study, const std::vector<const Experiment*>& list) {
  const std::string content = text_of(page);
  place(content, page, study, "summary");
  for (const Experiment* e : list) place(content, page, study, e->name);
}

std::string html_report(const std::vector<Finding>& findings, const Session& session) {
  std::string page = kHead;
  page.replace(page.find("{}"), 2, session.study.title);
  page += fmt::format(
      "<h1>{}</h1>\n<p>{}, on {}.</p>\n<pre>{}</pre>\n"
      "<p>Means and standard deviations over seeds. Runs are paired by seed: what counts is more than twice the "
      "standard deviation of the paired differences.</p>\n",
      session.study.title, session.study.about, escaped(session.data), escaped(session.command("all")));
  page += "<div class=\"wide\"><table><tr><th>experiment</th><th></th><th>seconds</th></tr>\n";
  for (const Finding& f : findings)
    page += fmt::format("<tr><td><a href=\"#{}\">{}</a></td><td>{}</td><td>{:.0f}</td></tr>\n", f.name,
                        escaped(f.title), badge(f.verdict()), f.seconds);
  page += "</table></div>\n";
  for (const Finding& f : findings) {
    page += fmt::format("<h2 id=\"{}\">{}</h2>\n<blockquote>{} <small>({})</small></blockquote>\n", f.name,
                        escaped(f.title), escaped(f.claim), escaped(f.section));
    page += fmt::format("<p>{}. {}</p>\n", badge(f.verdict()), escaped(why(f.result.parts)));
    page += figure(f, session) + parts_table(f);
    for (const Table& t : f.result.tables) {
      if (t.heat) continue;
      page += t.on_pages()
                  ? t.html()
                  : fmt::format("<details><summary>All {} rows</summary>{}</details>\n", t.table.size(), t.html());
    }
    page += fmt::format("<pre>{}</pre>\n", escaped(session.command(f.name)));
  }
  return page + "</body></html>\n";
}

void fill_markdown(const std::string& page, const std::vector<Finding>& findings, const Session& session) {
  std::string text_ = text_of(page);
  const auto put = [&](const std::string& name, const std::string& content) {
    const auto [begin, end] = place(text_, page, session.study, name);
    text_.replace(begin, end - begin, content);
  };
  const std::string folder = "pictures/" + session.study.name;
  const std::filesystem::path beside = std::filesystem::path(page).parent_path() / folder;
  std::vector<std::pair<std::string, std::string>> pictures;  // path and content
  put("summary", summary(findings, session));
  for (const Finding& f : findings) {
    const std::string file = session.out + "/" + f.name + ".svg";
    const bool drawn = std::filesystem::exists(file);
    if (drawn) pictures.emplace_back((beside / (f.name + ".svg")).string(), text_of(file));
    put(f.name, markdown_of(f, drawn ? fmt::format("{}/{}.svg", folder, f.name) : ""));
  }
  std::filesystem::create_directories(beside);
  for (const auto& [path, content] : pictures) write_file_atomic(path, content);
  write_file_atomic(page, text_);
}

}  // namespace examples
