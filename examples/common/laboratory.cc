#include "examples/common/laboratory.h"

#include <fmt/ranges.h>

#include <filesystem>

#include "examples/common/find_data.h"
#include "examples/common/program.h"
#include "examples/common/progress.h"

namespace examples {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char *kPlain = "plain", *kResNet20 = "resnet20";

struct Options {
  std::vector<std::string> names;
  DataOptions data;
  std::string out, json{}, markdown{}, device = "cpu", model = kPlain;
  bool list = false, quick = false, resume = false;
  int64_t seeds = 0;
  int threads = 0;
};

std::vector<const Experiment*> chosen(const Study& study, const std::vector<std::string>& names) {
  if (names == std::vector<std::string>{"all"}) return study.experiments;
  std::vector<const Experiment*> result;
  std::string known;
  for (const Experiment* e : study.experiments) {
    known += e->name + ", ";
    if (std::ranges::find(names, e->name) != names.end()) result.push_back(e);
  }
  for (const std::string& name : names)
    check(known.find(name + ", ") != std::string::npos, study.name, "'{}' is none of {}all", name, known);
  return result;
}

// As others can repeat it; `names` are put in place of the second word.
std::function<std::string(const std::string& names)> command(const Study& study, const Options& o) {
  std::string flags = o.quick ? " --quick" : "";
  if (!o.data.folder.empty()) flags += " --data " + o.data.folder;
  if (o.data.synthetic) flags += " --synthetic";
  if (o.data.limit != INT64_MAX) flags += fmt::format(" --limit {}", o.data.limit);
  if (o.seeds > 0) flags += fmt::format(" --seeds {}", o.seeds);
  if (o.model != kPlain) flags += " --model " + o.model;
  if (o.device != "cpu") flags += " --device " + o.device;
  flags += " --out " + o.out;
  return [name = study.name, flags](const std::string& names) { return name + " " + names + flags; };
}

Finding measure(const Experiment& experiment, Lab& lab, const nlohmann::ordered_json& conditions) {
  lab.experiment = experiment.name;
  const Clock::time_point start = Clock::now();
  Finding f{experiment.name, experiment.section, experiment.title, experiment.claim, experiment.run(lab), 0,
            conditions};
  f.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return f;
}

// That of a former run, if it was made under the same conditions.
std::optional<Finding> former(const std::string& file, const nlohmann::ordered_json& conditions) {
  if (!std::filesystem::exists(file)) return {};
  const std::vector<std::byte> bytes = read_file(file);
  const char* text = reinterpret_cast<const char*>(bytes.data());
  const auto json = nlohmann::ordered_json::parse(text, text + bytes.size(), nullptr, false);
  if (json.is_discarded() || json.value("conditions", nlohmann::ordered_json()) != conditions) return {};
  return Finding::parse(json);
}

int run(Study study, const Options& options) {
  if (options.list) {
    for (const Experiment* e : study.experiments) fmt::print("{:<16}{} ({})\n", e->name, e->title, e->section);
    return 0;
  }
  const std::vector<const Experiment*> plan = chosen(study, options.names);
  const auto repeats = command(study, options);
  const bool resnet20 = options.model == kResNet20;
  if (resnet20) {  // has pages, or parts of one, of its own
    study.name += "_resnet20";
    study.title += ", with ResNet-20";
  }
  if (!options.markdown.empty()) check_markdown(options.markdown, study, plan);
  if (options.threads > 0) set_num_threads(options.threads);

  // Data: a part of it, in the quick runs a smaller one.
  const Data data = resnet20 ? find_data(options.data, {DataFormat::cifar10, DataFormat::mnist})
                             : find_data(options.data, {DataFormat::mnist});
  Lab lab{data.train.first(options.quick ? 6'000 : 20'000), data.test.first(options.quick ? 4'000 : 10'000), {}};
  lab.device = Device::parse(options.device);
  check(std::min(lab.train.size(), lab.test.size()) >= 32, study.name, "{} + {} pictures are too few: want 32",
        lab.train.size(), lab.test.size());
  lab.scale = data::channel_stats(lab.train.images);
  lab.quick = options.quick;
  lab.resnet20 = resnet20;
  lab.seeds = options.seeds > 0 ? options.seeds : lab.choose(3, 5);
  const Session session{study, options.out, data.origin, repeats};
  fmt::print("data   {}: {} + {} pictures {}\n", data.origin, lab.train.size(), lab.test.size(),
             lab.train.images.shape().without(0));
  fmt::print("seeds  {}, on {} with {} threads, results in {}\n\n", lab.seeds, lab.device, num_threads(), options.out);
  std::filesystem::create_directories(options.out);

  // The experiments
  std::vector<Finding> findings;
  const auto left = [&] {
    return fmt::format("{} of {} finished, their files are in {}. To go on:\n  {} --resume\n", findings.size(),
                       plan.size(), options.out, session.command(fmt::format("{}", fmt::join(options.names, " "))));
  };
  try {
    for (const Experiment* e : plan) {
      const std::string base = options.out + "/" + e->name;
      nlohmann::ordered_json conditions = {{"data", data.train.name},
                                           {"train", lab.train.size()},
                                           {"test", lab.test.size()},
                                           {"seeds", lab.seeds},
                                           {"quick", lab.quick}};
      if (resnet20) conditions["model"] = kResNet20;
      if (!lab.device.is_cpu()) conditions["device"] = lab.device.str();
      std::optional<Finding> f = options.resume ? former(base + ".json", conditions) : std::nullopt;
      const bool is_new = !f;
      if (is_new) f = measure(*e, lab, conditions);
      if (is_new) write_file_atomic(base + ".json", f->json().dump(1) + "\n");  // first: the rest can be made of it
      std::vector<Panel> panels;
      for (const Table& table : f->result.tables) panels.push_back(table.panel());
      const std::string files = plot(base + ".svg", panels);
      fmt::print("{}{}, {}.json; {}\n\n", f->str(), files, base, is_new ? duration(f->seconds) : "taken from there");
      std::fflush(stdout);
      findings.push_back(std::move(*f));
    }
  } catch (const Interrupted& stop) {
    fmt::print("\ninterrupted: {}", left());
    return 128 + stop.signal;
  } catch (const std::exception&) {
    fmt::print("\nstopped: {}", left());
    throw;
  }

  // All of them together
  if (!options.json.empty()) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const Finding& f : findings) all.push_back(f.json());
    write_file_atomic(options.json, all.dump(1) + "\n");
  }
  for (const Finding& f : findings) fmt::print("{:<16}{}\n", f.name, text(f.verdict()));
  if (plan.size() == study.experiments.size()) {
    write_file_atomic(options.out + "/report.html", html_report(findings, session));
    fmt::print("\n{}/report.html\n", options.out);
  }
  if (!options.markdown.empty()) fill_markdown(options.markdown, findings, session);
  return 0;
}

}  // namespace

int laboratory(const Study& study, int argc, char** argv) {
  Options options;
  options.out = study.name;
  CLI::App app(study.description);
  app.option_defaults()->take_last();
  app.add_option("names", options.names, "experiments (see --list), or all")->take_all();
  app.add_flag("--list", options.list, "names them");
  app.add_flag("--quick", options.quick, "fewer pictures, epochs and settings: a minute each on two cores");
  options.data.add_to(app);
  app.add_option("--model", options.model, "plain, of six layers, or resnet20, on CIFAR-10: ten times as long")
      ->check(CLI::IsMember({kPlain, kResNet20}))
      ->capture_default_str();
  app.add_option("--seeds", options.seeds, "runs of each setting; default 5, or 3 if quick")
      ->check(CLI::Range(1, 1000));
  app.add_option("--out", options.out, "folder for NAME.svg, .csv, .json, and report.html")->capture_default_str();
  app.add_option("--json", options.json, "writes all findings to this file");
  app.add_option("--markdown", options.markdown,
                 fmt::format("puts them between the marks of this page, as in docs/{}.md", study.name));
  app.add_flag("--resume", options.resume, "takes what is finished, under the same conditions, from the folder");
  app.add_option("--threads", options.threads, "default: every core")->check(CLI::Range(1, 1024));
  app.add_option("--device", options.device, "cpu, cuda, cuda:1, ...")->capture_default_str();
  return run_program(app, argc, argv, [&] {
    if (!options.names.empty() || options.list) return run(study, options);
    fmt::print(stderr, "{}", app.help());
    return 1;
  });
}

}  // namespace examples
