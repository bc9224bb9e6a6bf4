// Training by several workers, on one machine or on many. Each worker has a replica of the model, with a tape and an
// optimizer of its own, and its share of every batch; gradients are averaged over all samples before each step.
//
//   int main(int argc, char** argv) {
//     nn::Workers workers(argc, argv, {.count = 4});
//     workers.run([&](nn::Worker& me) {
//       Net net;
//       nn::SGD optimizer(net, {.lr = 0.1});
//       nn::broadcast(me, net);
//       data::DataLoader train(dataset, {.batch = 128, .shuffle = true, .worker = me});
//       for (const data::Batch& batch : train) {
//         optimizer.zero_grad();
//         Tape tape;
//         tape.backward(cross_entropy(net(batch.images), batch.labels) * batch.weight);
//         nn::average_gradients(me, optimizer);
//         optimizer.step();
//         nn::average_populations(me, net);
//       }
//     });
//   }
//
// The result depends on the number of workers, but to the last bit not on that of processes: `./program` runs the four
// in one process, `mpirun -n 2 ./program` two in each of two. For the latter a program links norma::mpi.
// docs/processes.md says more.
#pragma once

#include "norma/core/workers.h"
#include "norma/nn/norm/norm.h"
#include "norma/nn/optim/optimizer.h"

namespace norma::nn {

using Worker = Communicator;

struct WorkersOptions {
  int count = 0;        // of workers, in all processes; 0: one in each process
  double timeout = 60;  // seconds that a worker waits for the others in an exchange
};

class Workers {
 public:
  // argc, argv: main's, which MPI may read. Under mpirun a program makes one of these, once. Errors: a second one
  // there; a program without norma::mpi that was started as several processes; fewer workers than processes, or more
  // than 65,536; a timeout that is not above 0.
  Workers(int argc, char** argv, const WorkersOptions& options = {});

  int count() const { return settings_.count; }
  int processes() const { return transport_ ? transport_->processes() : 1; }
  int process() const { return transport_ ? transport_->process() : 0; }  // in [0, processes())

  // Calls f(me) for each worker of this process, on threads of their own (a single worker on the caller's), and returns
  // when all have. A worker's default generator goes on from that of the process, worker r's in a stream of its own;
  // the process's has other numbers afterwards. What f throws ends all workers: see run_workers in core/workers.h.
  void run(const std::function<void(Worker& me)>& f) const { run_workers(settings_, f); }

 private:
  std::unique_ptr<Transport> transport_;
  WorkerSettings settings_;
};

// Each of these is an operation of a communicator: all workers call it.

// Parameters and buffers become those of worker 0.
void broadcast(Communicator& me, Module& model);

// Before optimizer.step(): each gradient becomes the mean over the workers. It is that over all samples where each
// worker's loss, a mean over its share, was weighed by the share (data::Batch::weight) before the sweep: later would be
// too late, since a norm across workers mixes their losses. A worker without samples weighs 0. Gradients that were
// accumulated in several sweeps are averaged once, behind the last. A parameter that has no gradient with some workers
// counts as 0 there; one that has none with any keeps none.
void average_gradients(Communicator& me, const Optimizer& optimizer);

// Behind optimizer.step(): the population of each norm becomes the mean over the workers whose share has moved it most
// often, so that all replicas are the same again. It is what ghost batch norm, whose cells the shares then are, makes
// of one batch; under a grouping across all workers it changes nothing.
void average_populations(Communicator& me, Module& model);

// Throws, with all workers, in the name of the first parameter or buffer that is not the same to the bit with each.
void check_replicas(Communicator& me, Module& model);

// Batch norm over the samples of all workers (Peng et al., "MegDet", 2017), or of those of me.split(...). It lives no
// longer than `me`.
inline Norm SyncBatchNorm(int64_t channels, Communicator& me, const BatchNormOptions& o = {}) {
  Norm norm = BatchNorm(channels, o);
  norm.grouping = across(me);
  return norm;
}

}  // namespace norma::nn
