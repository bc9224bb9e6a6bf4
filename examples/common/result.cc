#include "examples/common/result.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "examples/common/terminal.h"

namespace examples {
namespace {

// "12.30 ± 0.21"; of one seed without the second.
std::string entry(const Values& values) {
  if (values.empty()) return "";
  const double m = mean(values), s = spread(values);
  if (std::abs(m) < 1) return std::isnan(s) ? fmt::format("{:.2g}", m) : fmt::format("{:.2g} ± {:.1g}", m, s);
  return std::isnan(s) ? fmt::format("{:.2f}", m) : fmt::format("{:.2f} ± {:.2f}", m, s);
}

// The table's texts: a line of heads, then the rows.
std::vector<std::vector<std::string>> texts(const Table& t) {
  const std::vector<std::string> columns = t.columns();
  std::vector<std::vector<std::string>> lines = {{t.rows}};
  lines[0].insert(lines[0].end(), columns.begin(), columns.end());
  for (const Table::Row& row : t.table) {
    lines.push_back({row.name});
    for (const std::string& column : columns) {
      const auto at = std::ranges::find(row.entries, column, [](const auto& c) { return c.first; });
      lines.back().push_back(at == row.entries.end() ? "" : entry(at->second));
    }
  }
  return lines;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '<') result += "&lt;";
    else if (letter == '&') result += "&amp;";
    else result += letter;
  }
  return result;
}

}  // namespace

void Table::add(const std::string& row, const std::string& column, double value) {
  auto r = std::ranges::find(table, row, &Row::name);
  if (r == table.end()) r = table.insert(r, {row, {}});
  auto c = std::ranges::find(r->entries, column, [](const auto& named) { return named.first; });
  if (c == r->entries.end()) c = r->entries.insert(c, {column, {}});
  c->second.push_back(value);
}

const Values& Table::at(const std::string& row, const std::string& column) const {
  for (const Row& r : table)
    for (const auto& [name, values] : r.entries)
      if (r.name == row && name == column) return values;
  fail("Table", "'{}' has no value '{}' in row '{}'", title, column, row);
}

std::vector<std::string> Table::columns() const {
  std::vector<std::string> names;
  for (const Row& row : table)
    for (const auto& [name, _] : row.entries)
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  return names;
}

Panel Table::panel() const {
  Panel p{.title = title, .x_label = rows, .y_label = unit, .curves = {}, .log_x = log_x, .log_y = log_y, .bars = bars};
  const bool many =
      !heat && table.size() > kFewRows;  // then bars of spreads would hide the curve, and means its course
  for (const std::string& column : columns()) {
    Curve curve{.label = many ? column + ", first seed" : column, .x = {}, .y = {}, .points = !many};
    for (size_t i = 0; i < table.size(); ++i)
      for (const auto& [name, values] : table[i].entries) {
        if (name != column) continue;
        curve.x.push_back(bars ? static_cast<double>(i) : std::stod(table[i].name));
        curve.y.push_back(many ? values[0] : mean(values));
        if (!many && !heat) curve.spread.push_back(values.size() > 1 ? spread(values) : 0);
      }
    p.curves.push_back(std::move(curve));
  }
  p.heat = heat;
  if (bars)
    for (const Row& row : table) p.x_names.push_back(row.name);
  return p;
}

std::string Table::str() const {
  const std::vector<std::vector<std::string>> lines = texts(*this);
  std::vector<size_t> widths(lines[0].size());
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width_of(line[i]));
  std::string text = fmt::format("  {} ({})\n", title, unit);
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) text += std::string(2 + widths[i] - width_of(line[i]), ' ') + line[i];
    text += "\n";
  }
  return text;
}

std::string Table::markdown() const {
  std::string text = fmt::format("{} ({}):\n\n", title, unit);
  for (const auto& line : texts(*this)) {
    const bool head = text.ends_with("\n\n");
    text += fmt::format("| {} |\n", fmt::join(line, " | "));
    if (head) {
      for (size_t i = 0; i < line.size(); ++i) text += "| --- ";
      text += "|\n";
    }
  }
  return text;
}

std::string Table::html() const {
  std::string text =
      fmt::format("<div class=\"wide\"><table><caption>{} ({})</caption>\n", escaped(title), escaped(unit));
  bool head = true;
  for (const auto& line : texts(*this)) {
    text += "<tr>";
    for (const std::string& t : line) text += fmt::format("<{0}>{1}</{0}>", head ? "th" : "td", escaped(t));
    text += "</tr>\n";
    head = false;
  }
  return text + "</table></div>\n";
}

std::string Finding::str() const {
  std::string text = fmt::format("{} ({}): {}\n\nclaim: {}\n\n", name, section, title, claim);
  for (const Table& table : result.tables)
    if (!table.heat) text += table.str() + "\n";
  for (const Part& part : result.parts)
    text += fmt::format("  {:<12}  {}: {} (to hold: {})\n", examples::text(part.verdict), part.claim, part.str(),
                        part.rule);
  return text + fmt::format("\n{}: {}. {}\n", name, examples::text(verdict()), why(result.parts));
}

nlohmann::ordered_json Finding::json() const {
  using Json = nlohmann::ordered_json;
  const Json held = verdict() == Verdict::inconclusive ? Json(nullptr) : Json(verdict() == Verdict::held);
  Json parts = Json::array(), measured = Json::array();
  for (const Part& p : result.parts)
    parts.push_back({{"claim", p.claim},
                     {"rule", p.rule},
                     {"difference", p.difference},
                     {"spread", p.spread},
                     {"unit", p.unit},
                     {"verdict", examples::text(p.verdict)}});
  for (const Table& t : result.tables) {
    Json rows = Json::array();
    for (const Table::Row& row : t.table)
      for (const auto& [column, values] : row.entries)
        rows.push_back({{"row", row.name},
                        {"column", column},
                        {"mean", mean(values)},
                        {"spread", spread(values)},
                        {"by_seed", values}});
    measured.push_back({{"title", t.title},
                        {"rows", t.rows},
                        {"unit", t.unit},
                        {"log_x", t.log_x},
                        {"log_y", t.log_y},
                        {"bars", t.bars},
                        {"values", rows}});
    if (t.heat) measured.back()["heat"] = true;
  }
  return {{"name", name},
          {"claim", claim},
          {"held", held},
          {"verdict", examples::text(verdict())},
          {"why", why(result.parts)},
          {"parts", parts},
          {"measured", measured},
          {"section", section},
          {"title", title},
          {"seconds", seconds},
          {"conditions", conditions}};
}

Finding Finding::parse(const nlohmann::ordered_json& json) {
  const auto number = [](const nlohmann::ordered_json& j) { return j.is_null() ? std::nan("") : j.get<double>(); };
  Finding f{json.at("name"),    json.at("section"),   json.at("title"), json.at("claim"), {},
            json.at("seconds"), json.at("conditions")};
  for (const auto& p : json.at("parts")) {
    Part part{p.at("claim"), p.at("rule"), number(p.at("difference")), number(p.at("spread")), p.at("unit")};
    for (const Verdict v : {Verdict::held, Verdict::did_not_hold, Verdict::inconclusive})
      if (p.at("verdict") == examples::text(v)) part.verdict = v;
    f.result.parts.push_back(part);
  }
  for (const auto& t : json.at("measured")) {
    Table table{t.at("title"), t.at("rows"), t.at("unit"),          t.at("log_x"),
                t.at("log_y"), t.at("bars"), t.value("heat", false)};
    for (const auto& v : t.at("values"))
      for (const auto& value : v.at("by_seed"))
        table.add(v.at("row").get<std::string>(), v.at("column"), number(value));
    f.result.tables.push_back(table);
  }
  return f;
}

}  // namespace examples
