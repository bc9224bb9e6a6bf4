#include "norma/ops/norm/grouping.h"

namespace norma {

Samples Samples::labels(const Tensor& ids, int64_t count) {
  check(ids.dtype() == i64 && ids.rank() == 1, "grouping", "labels want i64 ids of shape [N], not {} {}", ids.dtype(),
        ids.shape());
  return {Kind::labels, count, ids.to(cpu_device).contiguous()};
}

std::string Grouping::str() const {
  constexpr std::string_view names[] = {"whole", "chunks", "each", "labels", "across"};
  std::string text(names[static_cast<size_t>(samples.kind)]);
  if (samples.size > 0) text += fmt::format("({})", samples.size);
  text += positions == Positions::all ? " x all x " : " x each x ";
  return text + (channels.count == 0   ? "each"
                 : channels.count == 1 ? "all"
                                       : fmt::format("groups({})", channels.count));
}

}  // namespace norma
