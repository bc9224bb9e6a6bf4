// What an experiment is, and what comes out of it: tables of values by seed, and parts of a claim with their verdicts.
#pragma once

#include <nlohmann/json.hpp>

#include "examples/common/lab.h"
#include "examples/common/plot.h"
#include "examples/common/verdict.h"

namespace examples {

inline constexpr size_t kFewRows = 24;  // longer tables are left out of pages

// Rows by columns of values, each with one value a seed; a panel of the figure, with a curve for each column.
struct Table {
  std::string title, rows, unit;  // rows: what they are, "normalization batch"; unit: "test error, %"
  bool log_x = false, log_y = false;
  bool bars = false;  // rows are names, not numbers
  bool heat = false;  // columns are numbers, too: a map of colours, rows to the right; in figures only, not on pages

  struct Row {
    std::string name;
    std::vector<std::pair<std::string, Values>> entries;
  };
  std::vector<Row> table{};

  void add(const std::string& row, const std::string& column, double value);  // that of the next seed
  void add(int64_t row, const std::string& column, double value) { add(std::to_string(row), column, value); }
  const Values& at(const std::string& row, const std::string& column) const;
  const Values& at(int64_t row, const std::string& column) const { return at(std::to_string(row), column); }
  std::vector<std::string> columns() const;

  bool on_pages() const { return !heat && table.size() <= kFewRows; }
  Panel panel() const;      // means with spreads; of more than kFewRows rows the curves of the first seed
  std::string str() const;  // as text, "12.30 +- 0.21"
  std::string markdown() const;
  std::string html() const;
};

struct Result {
  std::vector<Table> tables;
  std::vector<Part> parts;
};

struct Experiment {
  std::string name, section, title, claim;  // section: where the claim is from
  Result (*run)(Lab& lab);
};

// A result with what it was measured on. As JSON it is what --json gives, and what a run that is resumed reads.
struct Finding {
  std::string name, section, title, claim;
  Result result;
  double seconds = 0;
  nlohmann::ordered_json conditions;  // the data, the seeds, quick or not: what the result depends on

  Verdict verdict() const { return verdict_of(result.parts); }
  std::string str() const;
  nlohmann::ordered_json json() const;
  static Finding parse(const nlohmann::ordered_json& json);
};

}  // namespace examples
