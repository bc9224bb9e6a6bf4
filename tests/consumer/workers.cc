// A program of a user that mpirun may start as several processes: four workers add up their numbers.
#include <norma/norma.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (norma::connect_processes == nullptr) return std::puts("norma::mpi is not linked"), 1;
  const norma::nn::Workers workers(argc, argv, {.count = 4});
  double sum = 0;
  workers.run([&](norma::nn::Worker& me) {
    const norma::Tensor x = norma::full({}, me.rank());
    me.all_reduce(x);
    if (me.rank() == workers.process() * 4 / workers.processes()) sum = x.item();  // one worker of each process
  });
  if (workers.process() == 0) std::printf("%d processes\n", workers.processes());
  return sum == 6 ? 0 : 1;
}
