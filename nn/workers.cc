#include "norma/nn/workers.h"

#include <cstdlib>
#include <cstring>

namespace norma::nn {

Workers::Workers(int argc, char** argv, const WorkersOptions& options)
    : transport_(connect_processes ? connect_processes(argc, argv) : nullptr) {
  const char* started = std::getenv("OMPI_COMM_WORLD_SIZE");
  check(connect_processes || !started || std::atoi(started) <= 1, "workers",
        "mpirun has started {} of this program, which is not linked with norma::mpi", started ? started : "");
  settings_ = {options.count != 0 ? options.count : processes(), options.timeout, transport_.get()};
  check_settings(settings_);
}

namespace {

// FNV-1a (Fowler, Noll, Vo), by words of eight bytes.
int64_t hash_of(const Tensor& x) {
  const Tensor host = x.to(cpu_device).contiguous();
  const char* bytes =
      static_cast<const char*>(host.storage()->data()) + host.offset() * static_cast<int64_t>(size_of(host.dtype()));
  uint64_t hash = 0xcbf29ce484222325;
  for (int64_t i = 0; i < host.bytes(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i, static_cast<size_t>(std::min<int64_t>(8, host.bytes() - i)));
    hash = (hash ^ word) * 0x100000001b3;
    hash ^= hash >> 29;  // a word's high bits would else reach only high bits
  }
  return static_cast<int64_t>(hash);
}

}  // namespace

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
    std::vector<Tensor> parameters;
    int64_t elements = 0;
    for (size_t i = 0; i < named.size(); ++i) {
      if (count[i] == 0 || named[i].second.dtype() != dtype) continue;
      parameters.push_back(named[i].second);
      elements += named[i].second.numel();
    }
    if (parameters.empty()) continue;
    const Tensor all({elements}, dtype);  // exchanged at once
    const auto for_each_part = [&](const auto& f) {
      int64_t at = 0;
      for (const Tensor& p : parameters) {
        f(p, view::reshape(view::slice(all, 0, at, at + p.numel()), p.shape()));
        at += p.numel();
      }
    };
    for_each_part([](const Tensor& p, const Tensor& part) {
      if (const Tensor grad = p.grad(); grad.defined()) part.copy_from(grad);
      else part.fill(0);
    });
    me.all_reduce(all);
    dispatch_floating("average_gradients", dtype, [&]<class T>() {
      T* value = all.mutable_data<T>();
      const T part = static_cast<T>(1.0 / me.size());
      for (int64_t i = 0; i < elements; ++i) value[i] *= part;
    });
    for_each_part([](const Tensor& p, const Tensor& part) { p.set_grad(part.to(p.device())); });
  }
}

void average_populations(Communicator& me, Module& model) {
  if (me.size() == 1) return;
  std::vector<Norm*> norms;
  for_each_norm(model, [&](const std::string&, Norm& norm) {
    const Samples& samples = norm.grouping.samples;
    const bool synchronized = samples.kind == Samples::Kind::across && samples.comm->size() == me.size();
    const bool moves = norm.has_population() && norm.source != Statistics::Source::given;
    if (moves && norm.running_mean.defined() && !synchronized) norms.push_back(&norm);
  });
  std::vector<int64_t> steps;  // of each row of a population: a domain's, or the only one
  std::vector<double> values;  // of each row: 1 if it counts, else 0; and times that its means and variances
  for (const Norm* norm : norms)
    for (const int64_t count : norm->num_batches_tracked.to_vector<int64_t>()) steps.push_back(count);
  if (steps.empty()) return;
  const Tensor counts = me.all_gather(tensor(steps, {std::ssize(steps)}));
  std::vector<int64_t> most = steps;
  for (int64_t i = 0; i < counts.numel(); ++i) {
    int64_t& row = most[static_cast<size_t>(i) % most.size()];
    row = std::max(row, counts.data<int64_t>()[i]);
  }
  const int64_t *row = steps.data(), *all = most.data();
  for (const Norm* norm : norms) {
    const std::vector<double> mean = norm->running_mean.to_vector<double>(),
                              var = norm->running_var.to_vector<double>();
    const size_t rows = static_cast<size_t>(norm->num_batches_tracked.numel()), groups = mean.size() / rows;
    for (size_t r = 0; r < rows; ++r, ++row, ++all) {
      const bool moved = *row == *all;
      values.push_back(moved);
      for (const auto* of : {&mean, &var})
        for (size_t g = r * groups; g < (r + 1) * groups; ++g) values.push_back(moved ? (*of)[g] : 0);
    }
  }
  const Tensor sums = tensor(values, {std::ssize(values)});
  me.all_reduce(sums);
  const double* sum = sums.data<double>();
  all = most.data();
  for (const Norm* norm : norms) {
    const Shape shape = norm->running_mean.shape();
    const int64_t rows = norm->num_batches_tracked.numel(), groups = shape.numel() / rows;
    const Tensor mean({rows, groups}, f64), var({rows, groups}, f64), count({rows}, i64);
    for (int64_t r = 0; r < rows; ++r, ++all) {
      const double workers = *sum++;
      for (const Tensor& to : {mean, var})
        for (int64_t g = 0; g < groups; ++g) to.mutable_data<double>()[r * groups + g] = *sum++ / workers;
      count.mutable_data<int64_t>()[r] = *all;
    }
    norm->running_mean.copy_from(view::reshape(mean, shape));
    norm->running_var.copy_from(view::reshape(var, shape));
    norm->num_batches_tracked.copy_from(view::reshape(count, norm->num_batches_tracked.shape()));
  }
}

void check_replicas(Communicator& me, Module& model) {
  const NamedTensors state = model.state_dict();
  const Tensor hashes({std::ssize(state)}, i64);
  for (size_t i = 0; i < state.size(); ++i) hashes.mutable_data<int64_t>()[i] = hash_of(state[i].second);
  const Tensor all = me.all_gather(hashes);
  const int64_t* hash = all.data<int64_t>();
  for (size_t i = 0; i < state.size(); ++i)
    for (int worker = 1; worker < me.size(); ++worker)
      check(hash[static_cast<size_t>(worker) * state.size() + i] == hash[i], "check_replicas",
            "'{}' of worker {} is not that of worker 0", state[i].first, worker);
}

}  // namespace norma::nn
