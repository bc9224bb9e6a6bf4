#include "norma/nn/workers.h"

#include <cstdlib>

#include "norma/ops/elementwise/binary.h"
#include "norma/ops/elementwise/where.h"
#include "norma/ops/reduce/reduce.h"
#include "norma/ops/shape/concat.h"

namespace norma::nn {

Workers::Workers(int argc, char** argv, const WorkersOptions& options)
    : transport_(connect_processes ? connect_processes(argc, argv) : nullptr) {
  const char* started = std::getenv("OMPI_COMM_WORLD_SIZE");
  check(connect_processes || !started || std::atoi(started) <= 1, "workers",
        "mpirun has started {} of this program, which is not linked with norma::mpi", started ? started : "");
  settings_ = {options.count != 0 ? options.count : processes(), options.timeout, transport_.get()};
  check_settings(settings_);
}

// Tensors of one dtype in one, to be exchanged at once; and parts of such a one, in the shapes of these tensors.
static Tensor together(const std::vector<Tensor>& xs) {
  std::vector<Tensor> flat;
  for (const Tensor& x : xs) flat.push_back(view::reshape(x.to(cpu_device), {x.numel()}));
  return concat(flat, 0);
}
static std::vector<Tensor> apart(const Tensor& all, const std::vector<Tensor>& xs) {
  std::vector<Tensor> parts;
  for (int64_t at = 0; const Tensor& x : xs)
    parts.push_back(view::reshape(view::slice(all, 0, at, at + x.numel()), x.shape())), at += x.numel();
  return parts;
}

void broadcast(Communicator& me, Module& model) {
  for (const auto& [name, x] : model.state_dict()) me.broadcast(x);
}

void average_gradients(Communicator& me, const Optimizer& optimizer) {
  if (me.size() == 1) return;
  const NamedTensors& named = optimizer.parameters().named;
  const Tensor holders({std::ssize(named)}, i64);  // how many workers have a gradient of each parameter
  int64_t* count = holders.mutable_data<int64_t>();
  for (size_t i = 0; i < named.size(); ++i) count[i] = named[i].second.grad().defined();
  me.all_reduce(holders);
  for (const DType dtype : {f32, f64}) {
    std::vector<Tensor> parameters, grads;
    for (size_t i = 0; i < named.size(); ++i) {
      const Tensor& p = named[i].second;
      if (count[i] == 0 || p.dtype() != dtype) continue;
      parameters.push_back(p);
      grads.push_back(p.grad().defined() ? p.grad() : zeros_like(p));
    }
    if (parameters.empty()) continue;
    Tensor all = together(grads);
    me.all_reduce(all);
    all *= 1.0 / me.size();
    const std::vector<Tensor> means = apart(all, grads);
    for (size_t i = 0; i < means.size(); ++i) parameters[i].set_grad(means[i].to(parameters[i].device()));
  }
}

void average_populations(Communicator& me, Module& model) {
  if (me.size() == 1) return;
  std::vector<Norm*> norms;
  std::vector<Tensor> steps;  // of each norm: [rows, 1], a row for each domain, or the only one
  for_each_norm(model, [&](const std::string&, Norm& norm) {
    const Samples& samples = norm.grouping.samples;
    const bool synchronized = samples.kind == Samples::Kind::across && samples.comm->size() == me.size();
    const bool moves = norm.has_population() && norm.source != Statistics::Source::given;
    if (!moves || !norm.running_mean.defined() || synchronized) return;
    norms.push_back(&norm);
    steps.push_back(view::reshape(norm.num_batches_tracked.to(cpu_device), {-1, 1}));
  });
  if (norms.empty()) return;
  const std::vector<Tensor> most = apart(max(me.all_gather(together(steps)), {0}), steps);
  std::vector<Tensor> values;  // of each norm: 1 for a row that counts, else 0; and times that its means and variances
  for (size_t i = 0; i < norms.size(); ++i) {
    const Tensor moved = eq(steps[i], most[i]);
    values.push_back(moved.to(f64));
    for (const Tensor* x : {&norms[i]->running_mean, &norms[i]->running_var})
      values.push_back(where(moved, view::reshape(x->to(cpu_device), {moved.numel(), -1}), scalar(0, f64)));
  }
  const Tensor all = together(values);
  me.all_reduce(all);
  const std::vector<Tensor> sums = apart(all, values);
  for (size_t i = 0; i < norms.size(); ++i) {
    const auto put = [](const Tensor& to, const Tensor& x) { to.copy_from(view::reshape(x, to.shape())); };
    put(norms[i]->running_mean, sums[3 * i + 1] / sums[3 * i]);
    put(norms[i]->running_var, sums[3 * i + 2] / sums[3 * i]);
    put(norms[i]->num_batches_tracked, most[i]);
  }
}

void check_replicas(Communicator& me, Module& model) {
  for (const auto& [name, x] : model.state_dict()) {
    const Tensor own = x.to(cpu_device).clone(), first = own.clone();
    me.broadcast(first);
    const Tensor same = scalar(std::ranges::equal(own.memory(), first.memory()), i64);
    const std::vector<int64_t> all = me.all_gather(same).to_vector<int64_t>();
    const auto other = std::ranges::find(all, 0) - all.begin();
    check(other == me.size(), "check_replicas", "'{}' of worker {} is not that of worker 0", name, other);
  }
}

}  // namespace norma::nn
