// The playground's engine as a program: `playground_run time [SETTINGS]` says how long the digits take to 0.9, step by
// step as the page takes them but without its pauses; `playground_run FILE [ID]` runs the guided experiments of the
// page's experiments.json and prints what the page would show at the end of each phase.
#include <fmt/format.h>

#include <chrono>
#include <fstream>

#include "examples/playground/engine.h"

namespace {

using Json = nlohmann::json;

Json ask(examples::playground::Engine& engine, const Json& request) {
  Json reply = Json::parse(engine.answer(request.dump()));
  norma::check(!reply.contains("error"), "playground_run", "{}", reply.value("error", ""));
  return reply;
}

// As the page has them: flat, the parts of `sharing` among the others.
Json nested(const Json& flat) {
  Json settings = Json::object();
  for (const auto& [key, value] : flat.items()) {
    const bool shared =
        std::string(" samples chunk positions channels groups center half enabled ").find(" " + key + " ") !=
        std::string::npos;
    (shared ? settings["sharing"][key] : settings[key]) = value;
  }
  return settings;
}

std::string percent(const Json& score) {
  const bool known = score.is_object() && score["accuracy"].is_number();
  return known ? fmt::format("{:.3f}", score["accuracy"].get<double>()) : "-";
}
std::string shown(const Json& x) { return x.is_number() ? fmt::format("{:.4g}", x.get<double>()) : "-"; }

void time_digits(const Json& flat) {
  examples::playground::Engine engine;
  ask(engine, {{"do", "configure"}, {"settings", nested(flat)}});
  double seconds = 0;
  for (int64_t step = 0; step < 2000;) {
    const auto begin = std::chrono::steady_clock::now();
    step = ask(engine, {{"do", "step"}, {"count", 10}})["step"];
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const Json state = ask(engine, {{"do", "measure"}});
    if (step % 200 == 0) fmt::print("step {}: {}\n", step, percent(state["population"]));
    if (state["population"]["accuracy"].get<double>() < 0.9) continue;
    fmt::print("{} steps in {:.3f} s, {:.2f} ms a step: {} of the test set right\n", step, seconds,
               1e3 * seconds / double(step), percent(state["population"]));
    return;
  }
  fmt::print("not in 2000 steps\n");
}

void run_experiment(const Json& experiment) {
  fmt::print("{}\n", experiment["id"].get<std::string>());
  examples::playground::Engine engine;
  Json flat;
  for (const Json& phase : experiment["phases"]) {
    const bool anew = phase.value("anew", false);
    if (anew) flat = experiment["base"];
    flat.update(phase.value("set", Json::object()));
    ask(engine, {{"do", "configure"}, {"settings", nested(flat)}});
    if (anew) ask(engine, {{"do", "restart"}});
    if (phase.contains("do")) ask(engine, {{"do", phase["do"]}});
    const int64_t steps = phase["steps"];
    Json state, before = ask(engine, {{"do", "measure"}});
    for (int64_t i = 0; i < steps; i += 10) {
      const bool diverged = ask(engine, {{"do", "step"}, {"count", 10}})["diverged"];
      if (i + 20 == steps) ask(engine, {{"do", "measure"}});  // so that the last is of ten steps
      if (diverged) break;
    }
    state = ask(engine, {{"do", "measure"}});
    const Json report = ask(engine, {{"do", "report"}})["layers"];
    const Json& layers = state["layers"];
    fmt::print("  {:<10} step {:>4}  loss {:>7}  train {:>6}  population {:>6}  mini-batch {:>6}  {}",
               phase["id"].get<std::string>(), state["step"].get<int64_t>(),
               state["train"].is_null() ? "-" : shown(state["train"]["loss"]), percent(state["train"]),
               percent(state["population"]), percent(state["mini_batch"]),
               state["diverged"].get<bool>() ? "diverged" : "");
    if (!layers.empty())
      fmt::print("  flat {} .. {}  gradient {} .. {}", shown(layers.front()["values"]["flat"]),
                 shown(layers.back()["values"]["flat"]), shown(layers.front()["gradient"]["rms"]),
                 shown(layers.back()["gradient"]["rms"]));
    for (const Json& l : report)
      fmt::print("  [kl {} noise {} lag {}]", shown(l["kl"]), shown(l["noise"]), shown(l["lag"]));
    fmt::print("\n");
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    norma::check(count >= 2, "playground_run", "want 'time' or a file of experiments");
    if (arguments[1] == std::string("time")) return time_digits(Json::parse(count > 2 ? arguments[2] : "{}")), 0;
    std::ifstream file(arguments[1]);
    norma::check(file.good(), "playground_run", "{} cannot be read", arguments[1]);
    for (const Json& experiment : Json::parse(file))
      if (count < 3 || experiment["id"] == arguments[2]) run_experiment(experiment);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
