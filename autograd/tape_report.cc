// What a tape tells about itself: the graph, the profile and the trace. Not part of recording or of the sweep.

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "norma/autograd/tape.h"
#include "norma/core/file.h"

namespace norma {

std::string Tape::dot() const {
  std::string text = "digraph tape {\n  rankdir=LR; node [fontname=\"sans-serif\", fontsize=10];\n";
  std::map<int64_t, std::string> source;  // of each value: the node that its edges start from
  const auto box = [&](int64_t id, std::string_view style, const std::string& label) {
    text += fmt::format("  v{} [shape=box, style={}, label=\"{}\"];\n", id, style, label);
    source[id] = fmt::format("v{}", id);
  };
  std::map<int64_t, const Leaf*> leaves;  // by id: an order that does not depend on addresses
  for (const auto& [_, leaf] : leaves_) leaves[leaf.id] = &leaf;
  for (const auto& [id, leaf] : leaves)
    box(id, "bold", fmt::format("leaf {}\\n{} {}", id, leaf->tensor.shape(), leaf->tensor.dtype()));
  for (size_t i = 0; i < entries_.size(); ++i) {
    text += fmt::format("  e{} [shape=ellipse, label=\"{}{}\"];\n", i, entries_[i].op, in_module(entries_[i].module));
    for (const Value& x : entries_[i].inputs) {
      if (x.id < 0) continue;
      if (!source.contains(x.id)) box(x.id, "dashed", "consumed");
      text += fmt::format("  {} -> e{} [label=\"{}\", fontsize=8];\n", source[x.id], i, x.shape);
    }
    for (const Value& y : entries_[i].outputs) source[y.id] = fmt::format("e{}", i);
  }
  return text + "}\n";
}

void Tape::ProfileRow::operator+=(const ProfileRow& other) {
  calls += other.calls, bytes_moved += other.bytes_moved, bytes_saved += other.bytes_saved;
  forward_seconds += other.forward_seconds, backward_seconds += other.backward_seconds;
}

Tape::Profile Tape::profile(ProfileBy by) const {
  Profile result;
  for (const auto& [key, row] : profile_) result[key.first + in_module(by == ProfileBy::op ? "" : key.second)] += row;
  return result;
}

std::string Tape::table(const Profile& profile) {
  std::vector<std::pair<std::string, ProfileRow>> rows(profile.begin(), profile.end());
  std::ranges::sort(rows, std::greater(), [](const auto& row) { return row.second.seconds(); });
  rows.emplace_back("sum", ProfileRow());
  size_t width = 20;
  for (const auto& [name, row] : profile) width = std::max(width, name.size()), rows.back().second += row;
  std::string text = fmt::format("{:<{}} {:>6} {:>12} {:>12} {:>11} {:>11}\n", "op", width, "calls", "forward ms",
                                 "backward ms", "moved MB", "saved MB");
  for (const auto& [name, row] : rows)
    text += fmt::format("{:<{}} {:>6} {:>12.3f} {:>12.3f} {:>11.2f} {:>11.2f}\n", name, width, row.calls,
                        1e3 * row.forward_seconds, 1e3 * row.backward_seconds,
                        1e-6 * static_cast<double>(row.bytes_moved), 1e-6 * static_cast<double>(row.bytes_saved));
  return text;
}

void Tape::trace(const std::string& file) const {
  check(options_.trace, "trace", "no times were noted: make the tape with {{.trace = true}}");
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (const Event& e : events_) {
    const char* pass = e.cost.calls > 0 ? "forward" : "backward";
    events.push_back({{"name", e.op}, {"cat", pass}, {"ph", "X"}, {"pid", ::getpid()}, {"tid", ::gettid()}});
    events.back()["ts"] = std::chrono::duration<double, std::micro>(e.start.time_since_epoch()).count();
    events.back().update({{"dur", 1e6 * e.cost.seconds()}, {"args", {{"module", e.module}, {"bytes", e.bytes}}}});
  }
  events = {{"traceEvents", events}};
  write_file_atomic(file, events.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace norma
