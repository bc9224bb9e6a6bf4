#include "norma/core/workers.h"

#include <atomic>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "norma/core/memory.h"
#include "norma/core/parallel.h"
#include "norma/core/random.h"

namespace norma {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kSmall = 1 << 15;  // bytes that are sent to everybody at once, in place of a slice to each
constexpr int64_t kBlock = 4096;     // elements that are added up at a time
// A message's tag says which communicator it is of, of so many that may get their number from one process, and, in
// Transport::kCallBits, which call: MPI has 31 bits.
constexpr int kTagsOfProcess = 1 << 10, kMostProcesses = 1 << 13;
constexpr double kMostSeconds = 1e8;  // more are as good as for ever, and too many for a clock

// ---- sums along the tree ----

struct Node {
  int low, high;
  int size() const { return high - low; }
  // The sum of ranks [low, high) is that of [low, middle) and [middle, high).
  int middle() const { return low + static_cast<int>(std::bit_ceil(static_cast<unsigned>(size())) / 2); }
  auto operator<=>(const Node&) const = default;
};

// Where the elements [from, from + n) of a node's sum lie: known(node) says where the first of all is or, where that is
// null, they are at `memory`, which is given the sum of the two nodes below. memory: n elements for each level.
template <class T, class Known>
const T* sum_node(Node node, const Known& known, int64_t from, T* memory, int64_t n) {
  if (const T* sum = known(node)) return sum + from;
  const T* left = sum_node({node.low, node.middle()}, known, from, memory, n);
  const T* right = sum_node({node.middle(), node.high}, known, from, memory + n, n);
  for (int64_t i = 0; i < n; ++i) memory[i] = left[i] + right[i];
  return memory;
}

// put(from, sum, n) is given the sum of a node for parts [from, from + n) of n elements; known(node) is where the first
// element lies.
template <class T, class Known, class Put>
void sum_all(Node node, int64_t count, const Known& known, const Put& put) {
  const int levels = 1 + std::bit_width(static_cast<unsigned>(node.size() - 1));
  parallel_for((count + kBlock - 1) / kBlock, 4, [&](int64_t begin, int64_t end) {
    PoolVector<T> memory(static_cast<size_t>(levels * kBlock));
    for (int64_t block = begin; block < end; ++block) {
      const int64_t from = block * kBlock, n = std::min(kBlock, count - from);
      put(from, sum_node(node, known, from, memory.data(), n), n);
    }
  });
}

// ---- where workers meet ----

// What all communicators of a run share.
class Group;
struct Team {
  WorkerSettings settings;
  std::atomic<bool> failed{false};  // a worker has thrown
  std::atomic<bool> broken{false};  // an exchange has failed: where all stand is not known any more
  std::atomic<int> next_tag{1};     // 0 is that of all workers
  std::mutex mutex{};
  std::map<int, std::shared_ptr<Group>> groups{};  // by tag: those that have been split off, if a worker is here

  int process() const { return settings.transport ? settings.transport->process() : 0; }
  // A number for a new communicator, which no other process gives away.
  int new_tag() {
    const int number = next_tag++;
    check(number < kTagsOfProcess, "split", "more than {} communicators", kTagsOfProcess);
    return process() * kTagsOfProcess + number;
  }
};

struct Call {
  const char* op = nullptr;
  Tensor x, all{};  // all: where a gather goes
  int root = 0;
  auto key() const { return std::tuple(std::string_view(op), x.dtype(), x.shape(), root); }
  std::string str() const { return fmt::format("{} of {} {}, root {}", op, x.dtype(), x.shape(), root); }
  // Of the call and how many came before: with another process that calls something else, messages do not match.
  int hash(uint64_t before) const {
    const size_t of = std::hash<std::string>()(fmt::format("{} {}", str(), before));
    return static_cast<int>(of >> 7 & ((1 << Transport::kCallBits) - 1));
  }
};

// The workers of one communicator that are in this process. The last of them to come does the work for all.
class Group {
 public:
  // places: each rank's process. Those of one process are neighbours.
  Group(Team& team, int tag, const std::vector<int>& places) : team_(team), tag_(tag) {
    std::ranges::unique_copy(places, std::back_inserter(processes_));
    for (const int process : processes_) bounds_.push_back(std::ranges::find(places, process) - places.begin());
    bounds_.push_back(static_cast<int>(places.size()));
    here_ = std::find(processes_.begin(), processes_.end(), team.process()) - processes_.begin();
    calls_.resize(static_cast<size_t>(bounds_[here_ + 1] - bounds_[here_]));
    add_nodes({0, size()});
  }

  int size() const { return bounds_.back(); }
  Team& team() const { return team_; }
  // The index of a rank's process.
  size_t place_of(int rank) const {
    return static_cast<size_t>(std::upper_bound(bounds_.begin(), bounds_.end(), rank) - bounds_.begin()) - 1;
  }
  int process_of(int rank) const { return processes_[place_of(rank)]; }

  // Waits until all workers of this process have come with the same call, one of whom calls lead().
  void meet(int rank, Call call, void (Group::*lead)()) {
    const size_t own = static_cast<size_t>(rank - bounds_[here_]);
    std::unique_lock lock(mutex_);
    check_others(call.op);
    calls_[own] = std::move(call);
    const uint64_t meeting = meeting_.load(std::memory_order_relaxed);
    if (!std::ranges::all_of(calls_, [](const Call& of) { return of.x.defined(); })) {
      wait(lock, own, meeting);
    } else {
      try {
        for (const Call& other : calls_)
          if (other.key() != calls_[own].key())
            fail(calls_[own].op, "the workers do not call the same: {} and {}", other.str(), calls_[own].str());
        (this->*lead)();
      } catch (...) {
        error_ = std::current_exception();
        team_.broken = true;
      }
      for (Call& done : calls_) done.x = done.all = {};
      meeting_.store(meeting + 1, std::memory_order_release);
      moved_.notify_all();
    }
    if (error_) std::rethrow_exception(error_);
  }

  // What one of the workers does for all of them.
  void gather_all() {
    const std::span<std::byte> all = calls_[0].all.memory();
    const size_t each = all.size() / static_cast<size_t>(size());
    // Of a process.
    const auto part = [&](size_t i) { return all.subspan(each * bounds_[i], each * (bounds_[i + 1] - bounds_[i])); };
    for (size_t i = 0; i < calls_.size(); ++i)
      std::ranges::copy(calls_[i].x.memory(), part(here_).begin() + static_cast<ptrdiff_t>(i * each));
    exchange_parts(part);
    for (size_t i = 1; i < calls_.size(); ++i) std::ranges::copy(all, calls_[i].all.memory().begin());
  }

  void spread_all() {
    const int root = calls_[0].root;
    const size_t from = place_of(root);
    const bool here = from == here_;
    const std::span<std::byte> source = calls_[here ? static_cast<size_t>(root - bounds_[here_]) : 0].x.memory();
    std::vector<Transport::Message> send, receive;
    for (size_t i = 0; i < processes_.size(); ++i)
      if (i != here_ && (here || i == from)) (here ? send : receive).push_back({processes_[i], source});
    exchange(send, receive);
    for (const Call& call : calls_)
      if (call.x.memory().data() != source.data()) std::ranges::copy(source, call.x.memory().begin());
  }

  void reduce_all() {
    dispatch(calls_[0].x.dtype(), [&]<class T>() {
      if constexpr (sizeof(T) >= 4) reduce_as<T>(calls_[0].x.numel());
    });
  }

 private:
  void wait(std::unique_lock<std::mutex>& lock, size_t own, uint64_t meeting) {
    const auto moved = [&] { return meeting_.load(std::memory_order_acquire) != meeting; };
    lock.unlock();
    for (int spins = 0; spins < 200 && !moved(); ++spins) std::this_thread::yield();
    lock.lock();
    const auto end = Clock::now() + std::chrono::duration<double>(team_.settings.timeout);
    while (!moved_.wait_for(lock, std::chrono::milliseconds(20), moved)) {
      check_others(calls_[own].op);
      if (Clock::now() < end) continue;
      team_.broken = true;
      std::vector<int> missing;
      for (size_t i = 0; i < calls_.size(); ++i)
        if (!calls_[i].x.defined()) missing.push_back(bounds_[here_] + static_cast<int>(i));
      fail(calls_[own].op, "worker {} has waited {} s for worker {}", bounds_[here_] + static_cast<int>(own),
           team_.settings.timeout, fmt::join(missing, ", "));
    }
  }

  void check_others(const char* op) const {
    check(!team_.failed.load(std::memory_order_relaxed), op, "another worker has failed");
    check(!team_.broken.load(std::memory_order_relaxed), op, "an exchange before this one has failed");
  }

  void exchange(std::span<const Transport::Message> send, std::span<const Transport::Message> receive) const {
    if (processes_.size() == 1) return;
    const int tag = tag_ << Transport::kCallBits | calls_[0].hash(meeting_.load(std::memory_order_relaxed));
    team_.settings.transport->exchange(calls_[0].op, tag, send, receive, team_.settings.timeout);
  }

  // Sends part(here_) to the other processes, and gets part(i) of each.
  void exchange_parts(const auto& part) const {
    std::vector<Transport::Message> send, receive;
    for (size_t i = 0; i < processes_.size(); ++i) {
      if (i == here_) continue;
      send.push_back({processes_[i], part(here_)});
      receive.push_back({processes_[i], part(i)});
    }
    exchange(send, receive);
  }

  void add_nodes(Node of) {
    if (place_of(of.low) == place_of(of.high - 1)) return nodes_.push_back(of);
    add_nodes({of.low, of.middle()});
    add_nodes({of.middle(), of.high});
  }

  template <class T>
  void reduce_as(int64_t n) {
    if (size() == 1) return;
    const Node root = {0, size()};
    std::vector<T*> own;
    for (const Call& call : calls_) own.push_back(call.x.template mutable_data<T>());
    const auto of_worker = [&](Node node) { return node.size() == 1 ? own[node.low - bounds_[here_]] : nullptr; };
    const auto to_workers = [&](int64_t from, const T* sum, int64_t count) {
      for (T* x : own) std::copy_n(sum, count, x + from);
    };
    if (processes_.size() == 1) return sum_all<T>(root, n, of_worker, to_workers);

    // Each process adds up what it can; a slice of the elements, or all of them, are then added up by one process.
    const bool small = n * static_cast<int64_t>(sizeof(T)) <= kSmall;
    const int64_t parts = std::ssize(processes_);
    const auto part = [&](T* x, int64_t i) {  // of n elements from x on: those that process i adds up
      const int64_t begin = small ? 0 : n * i / parts, end = small ? n : n * (i + 1) / parts;
      return std::span(x + begin, static_cast<size_t>(end - begin));
    };
    const std::span<T> slice = part(own[0], here_);
    std::vector<PoolVector<T>> sums;  // of nodes: all elements of those of this process, else the slice
    std::map<Node, const T*> known;   // where a node's sum of the slice lies
    std::vector<Transport::Message> send, receive;
    for (const Node& node : nodes_) {
      const size_t from = place_of(node.low);
      const bool here = from == here_;
      T* const sum = sums.emplace_back(here ? static_cast<size_t>(n) : slice.size()).data();
      known[node] = here ? part(sum, here_).data() : sum;
      if (here) sum_all<T>(node, n, of_worker, [&](int64_t at, const T* x, int64_t k) { std::copy_n(x, k, sum + at); });
      else receive.push_back({processes_[from], std::as_writable_bytes(std::span(sum, slice.size()))});
      for (size_t i = 0; here && i < processes_.size(); ++i)
        if (i != here_) send.push_back({processes_[i], std::as_writable_bytes(part(sum, i))});
    }
    exchange(send, receive);
    const auto of_node = [&](Node node) { return known.contains(node) ? known.at(node) : nullptr; };
    sum_all<T>(root, std::ssize(slice), of_node, [&](int64_t from, const T* sum, int64_t count) {
      to_workers(slice.data() - own[0] + from, sum, count);
    });
    if (small) return;
    exchange_parts([&](size_t i) { return std::as_writable_bytes(part(own[0], i)); });
    for (size_t k = 1; k < own.size(); ++k) std::copy_n(own[0], n, own[k]);
  }

  Team& team_;
  const int tag_;
  std::vector<int> processes_, bounds_;  // ranks [bounds_[i], bounds_[i + 1]) are in process processes_[i]
  size_t here_ = 0;                      // the index of this process
  std::vector<Node> nodes_;              // from left to right, the largest that lie in one process each

  std::mutex mutex_;
  std::condition_variable moved_;
  std::vector<Call> calls_;  // of the workers here, in the meeting that is under way: x is undefined of who is to come
  std::atomic<uint64_t> meeting_{0};
  std::exception_ptr error_;
};

class Member final : public Communicator {
 public:
  Member(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  Tensor all_gather(const Tensor& x) override {
    check(x.rank() < Shape::kMaxRank, "all_gather", "a tensor of rank {}: want less than {}", x.rank(),
          int{Shape::kMaxRank});
    Shape shape = {size()};
    for (const int64_t extent : x.shape()) shape.push_back(extent);
    const Tensor all(shape, x.dtype());
    group_->meet(rank_, {"all_gather", x.to(cpu_device).contiguous(), all}, &Group::gather_all);
    return all.to(x.device());
  }

  void all_reduce(const Tensor& x) override {
    check(x.is_floating() || x.dtype() == i64, "all_reduce", "sums f32, f64 and i64, not {}: shape {}", x.dtype(),
          x.shape());
    meet_in_place(x, "all_reduce", 0, &Group::reduce_all);
  }

  void broadcast(const Tensor& x, int root) override {
    check(root >= 0 && root < size(), "broadcast", "from worker {} of {}", root, size());
    meet_in_place(x, "broadcast", root, &Group::spread_all);
  }

  Communicator& split(int64_t color) override {
    const auto of_all = [&](int64_t own) { return all_gather(tensor<int64_t>({own}, {})).to_vector<int64_t>(); };
    const std::vector<int64_t> colors = of_all(color);
    std::vector<int> places;  // of those of this color
    for (int r = 0; r < size(); ++r)
      if (colors[static_cast<size_t>(r)] == color) places.push_back(group_->process_of(r));
    const auto rank = static_cast<int>(std::count(colors.begin(), colors.begin() + rank_, color));
    Team& team = group_->team();
    const std::vector<int64_t> tags = of_all(rank == 0 ? team.new_tag() : 0);  // the first of a color gives theirs
    const int64_t tag = tags[std::find(colors.begin(), colors.end(), color) - colors.begin()];
    const std::lock_guard lock(team.mutex);
    std::shared_ptr<Group>& group = team.groups[static_cast<int>(tag)];
    if (!group) group = std::make_shared<Group>(team, static_cast<int>(tag), places);
    return *parts_.emplace_back(std::make_unique<Member>(group, rank));
  }

 private:
  // Meets with x, or with a contiguous copy on the CPU that is then copied back. Where x must not be written to, that
  // is an error of this worker alone, before it meets the others.
  void meet_in_place(const Tensor& x, const char* op, int root, void (Group::*lead)()) {
    dispatch(x.dtype(), [&]<class T>() { x.mutable_data_or_null<T>(); });
    const Tensor host = x.to(cpu_device).contiguous();
    group_->meet(rank_, {op, host, {}, root}, lead);
    if (host.identity() != x.identity()) x.copy_from(host);
  }

  std::shared_ptr<Group> group_;
  int rank_;
  std::vector<std::unique_ptr<Member>> parts_;
};

thread_local bool is_worker = false;

}  // namespace

void check_settings(const WorkerSettings& settings) {
  const int processes = settings.transport ? settings.transport->processes() : 1;
  check(settings.count >= processes && settings.count <= 1 << 16, "workers",
        "{} workers in {} process{}: want {} ... {}", settings.count, processes, processes == 1 ? "" : "es", processes,
        1 << 16);
  check(processes <= kMostProcesses, "workers", "{} processes: at most {}", processes, kMostProcesses);
  check(settings.timeout > 0, "workers", "a timeout of {} s: want more than 0", settings.timeout);
}

void run_workers(const WorkerSettings& settings, const std::function<void(Communicator& me)>& f) {
  Transport* const transport = settings.transport;
  const int processes = transport ? transport->processes() : 1, process = transport ? transport->process() : 0;
  check_settings(settings);
  check(!is_worker, "workers", "called by a worker");

  Team team{settings};
  team.settings.timeout = std::min(settings.timeout, kMostSeconds);
  std::vector<int> places;
  for (int i = 0; i < processes; ++i) places.resize(int64_t{settings.count} * (i + 1) / processes, i);
  const auto world = std::make_shared<Group>(team, 0, places);
  const int begin = settings.count * process / processes, local = settings.count * (process + 1) / processes - begin;
  if (settings.count == 1) {
    Member me(world, 0);
    return f(me);
  }
  // So that the process's generator, and the workers of the next run, draw other numbers than these.
  const Generator::State state = default_generator().reserve(int64_t{1} << 40);
  const int threads = num_threads();

  std::mutex mutex;
  std::condition_variable ended;
  int done = 0;
  std::string failure;
  const auto fails = [&](int i, std::string_view message) {
    const std::lock_guard lock(mutex);
    if (team.failed.exchange(true)) return;
    failure = fmt::format("worker {} of {}{}: {}", begin + i, settings.count,
                          processes > 1 ? fmt::format(" (process {})", process) : "", message);
    if (processes > 1) transport->abort(failure);
  };
  const auto work = [&](int i) {
    is_worker = true;
    const ThreadGenerator generator(state, begin + i);
    std::optional<ThreadShare> share;
    if (local > 1) share.emplace(std::max(1, threads * (i + 1) / local - threads * i / local));
    try {
      Member me(world, begin + i);
      f(me);
    } catch (const std::exception& error) {
      fails(i, error.what());
    } catch (...) {
      fails(i, "an exception that is no std::exception");
    }
    const std::lock_guard lock(mutex);
    ++done;
    ended.notify_all();
  };
  std::vector<std::thread> workers;
  try {
    for (int i = 0; i < local; ++i) workers.emplace_back(work, i);
  } catch (const std::system_error& error) {
    fails(static_cast<int>(workers.size()), fmt::format("gets no thread: {}", error.what()));
  }

  std::unique_lock lock(mutex);
  const auto all_done = [&] { return done == std::ssize(workers); };
  ended.wait(lock, [&] { return all_done() || team.failed; });
  // A worker that neither ends nor exchanges anything cannot be ended without the process.
  if (!ended.wait_for(lock, std::chrono::duration<double>(team.settings.timeout), all_done)) {
    fmt::print(stderr, "error: {}\n(another worker does not end: the process does)\n", failure);
    std::_Exit(1);
  }
  for (std::thread& worker : workers) worker.join();
  check(failure.empty(), "workers", "{}", failure);
}

}  // namespace norma
