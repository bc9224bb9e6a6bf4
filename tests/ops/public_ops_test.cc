// What holds for every public op: it says its name where it is given an undefined tensor, and its result is a value of
// its own on the tape, also where nothing changes.
#include "tests/golden.h"

namespace norma {
namespace {

using namespace norma::test;

TEST(PublicOps, SayTheirNameOfUndefinedTensors) {
  const Tensor none, x = there(ones({2, 3})), image = there(ones({1, 4, 4, 2})), filter = there(ones({2, 1, 1, 2}));
  const Tensor labels = there(zeros({2}, i64)), condition = there(ones({2, 3}, boolean));
#define NORMA_CASE(name) {#name, [&] { name(none); }},
#define NORMA_PAIRS(name)                                                                                 \
  {#name, [&] { name(none, x); }}, {#name, [&] { name(x, none); }}, {#name, [&] { name(none, none); }}, { \
#name, [&] { name(none, 2.0); }                                                                       \
  }
#define NORMA_BOTH(name) NORMA_PAIRS(name), {#name, [&] { name(2.0, none); }},
#define NORMA_COMPARE(name) NORMA_PAIRS(name),
  const std::vector<std::pair<const char*, std::function<void()>>> calls = {
      NORMA_EACH_UNARY(NORMA_CASE) NORMA_EACH_BINARY(NORMA_BOTH) NORMA_EACH_COMPARE(NORMA_COMPARE)
          NORMA_EACH_REDUCTION(NORMA_CASE) NORMA_CASE(leaky_relu) NORMA_CASE(elu) NORMA_CASE(softplus)
              NORMA_CASE(logical_not) NORMA_CASE(isnan) NORMA_CASE(isinf) NORMA_CASE(isfinite) NORMA_CASE(var)
                  NORMA_CASE(stddev) NORMA_CASE(vector_norm) NORMA_CASE(argmax) NORMA_CASE(argmin) NORMA_CASE(softmax)
                      NORMA_CASE(log_softmax) NORMA_CASE(global_avg_pool){"clamp", [&] { clamp(none, 0, 1); }},
      {"dropout", [&] { dropout(none, 0); }},
      {"dropout", [&] { dropout(none, 0.5); }},
      {"neg", [&] { (void)-none; }},
      {"add", [&] { (void)(none + 1); }},
      {"to", [&] { to(none, f32); }},
      {"to", [&] { to(none, cpu_device); }},
      {"where", [&] { where(none, x, x); }},
      {"where", [&] { where(condition, none, x); }},
      {"where", [&] { where(condition, x, none); }},
      {"argmax", [&] { argmax(none, 0); }},
      {"argmin", [&] { argmin(none, 0); }},
      {"cumsum", [&] { cumsum(none, 0); }},
      {"topk", [&] { topk(none, 1); }},
      {"prelu", [&] { prelu(none, x); }},
      {"prelu", [&] { prelu(x, none); }},
      {"sum_to", [&] { sum_to(none, {}); }},
      {"mse", [&] { mse(none, x); }},
      {"mse", [&] { mse(x, none); }},
      {"bce_with_logits", [&] { bce_with_logits(none, x); }},
      {"bce_with_logits", [&] { bce_with_logits(x, none); }},
      {"l1", [&] { l1(none, x); }},
      {"bce", [&] { bce(x, none); }},
      {"kl_div", [&] { kl_div(none, x); }},
      {"smooth_l1", [&] { smooth_l1(x, none); }},
      {"smooth_l1", [&] { huber(none, x); }},
      {"l2_normalize", [&] { l2_normalize(none); }},
      {"l2_normalize", [&] { cosine_similarity(x, none); }},
      {"nll", [&] { nll(none, labels); }},
      {"nll", [&] { nll(x, none, {.weight = there(ones({3}))}); }},
      {"nll", [&] { nll(none, labels, {.weight = there(ones({3}))}); }},
      {"cross_entropy", [&] { cross_entropy(none, labels); }},
      {"cross_entropy", [&] { cross_entropy(x, none); }},
      {"reshape", [&] { reshape(none, {1}); }},
      {"flatten", [&] { flatten(none); }},
      {"permute", [&] { permute(none, {0}); }},
      {"transpose", [&] { transpose(none, 0, 1); }},
      {"slice", [&] { slice(none, 0, 0, 0); }},
      {"expand", [&] { expand(none, {1}); }},
      {"squeeze", [&] { squeeze(none, 0); }},
      {"unsqueeze", [&] { unsqueeze(none, 0); }},
      {"concat", [&] { concat({none}, 0); }},
      {"concat", [&] { concat({x, none}, 0); }},
      {"pad", [&] { pad(none, {}); }},
      {"gather", [&] { gather(none, 0, labels); }},
      {"gather", [&] { gather(x, 0, none); }},
      {"index_select", [&] { index_select(none, 0, labels); }},
      {"index_select", [&] { index_select(x, 0, none); }},
      {"one_hot", [&] { one_hot(none, 3); }},
      {"slice", [&] { select(none, 0, 0); }},
      {"masked_fill", [&] { masked_fill(none, condition, 0); }},
      {"split", [&] { split(none, {1}, 0); }},
      {"scatter_add", [&] { scatter_add(none, 0, labels, x); }},
      {"triu", [&] { triu(none); }},
      {"roll", [&] { roll(none, 1, 0); }},
      {"tile", [&] { tile(none, 1); }},
      {"matmul", [&] { matmul(none, x); }},
      {"matmul", [&] { matmul(x, none); }},
      {"linear", [&] { linear(none, x, {}); }},
      {"linear", [&] { linear(x, none, {}); }},
      {"conv2d", [&] { conv2d(none, filter, {}); }},
      {"conv2d", [&] { conv2d(image, none, {}); }},
      {"conv_transpose2d", [&] { conv_transpose2d(none, filter, {}); }},
      {"conv_transpose2d", [&] { conv_transpose2d(image, none, {}); }},
      {"max_pool2d", [&] { max_pool2d(none, {.kernel = 2}); }},
      {"avg_pool2d", [&] { avg_pool2d(none, {.kernel = 2}); }},
      {"interpolate", [&] { interpolate(none, Pair(2)); }},
      {"interpolate", [&] { interpolate(none, Scale(2)); }},
      {"norm", [&] { norm(none, whole(), {}, {}, {}); }},
      {"moments", [&] { moments(none, whole()); }},
      {"conv2d", [&] { conv2d_norm(none, filter, {}, {}, whole(), {}, {}, {}); }},
      {"conv2d", [&] { conv2d_norm(image, none, {}, {}, whole(), {}, {}, {}); }},
      {"norm_max_pool", [&] { norm_max_pool(none, whole(), {}, {}, {}, {.kernel = 2}); }},
  };
  for (const auto& [name, call] : calls) expect_error(call, fmt::format("[{}] an undefined tensor was used", name));
  expect_error([&] { (void)none.shape(); }, "[tensor] an undefined tensor was used");  // as before any op
}

// An op within an op: the name is that of the innermost that still runs.
TEST(PublicOps, AUsersOpIsNamedToo) {
  const Op outer("mine");
  expect_error([] { relu(Tensor()); }, "[relu] an undefined tensor was used");
  expect_error([] { (void)Tensor().shape(); }, "[mine] an undefined tensor was used");
}

TEST(PublicOps, ReturnRecordedValuesWhereNothingChanges) {
  const Tensor x = there(ones({2, 3, 1, 1}));
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> calls = {
      {"dropout", [](const Tensor& in) { return dropout(in, 0); }},
      {"to", [](const Tensor& in) { return to(in, in.dtype()); }},
      {"to", [](const Tensor& in) { return to(in, in.device()); }},
      {"reshape", [](const Tensor& in) { return reshape(in, in.shape()); }},
      {"flatten",
       [](const Tensor& in) {
         return reshape(flatten(reshape(in, {2, 3})), in.shape());
       }},
      {"permute",
       [](const Tensor& in) {
         return permute(in, {0, 1, 2, 3});
       }},
      {"transpose", [](const Tensor& in) { return transpose(in, 1, 1); }},
      {"slice", [](const Tensor& in) { return slice(in, 0, 0, 2); }},
      {"expand", [](const Tensor& in) { return expand(in, in.shape()); }},
      {"pad",
       [](const Tensor& in) {
         return pad(in, {{0, 0}, {0, 0}, {0, 0}, {0, 0}});
       }},
      {"concat", [](const Tensor& in) { return concat({in}, 0); }},
      {"masked_fill", [](const Tensor& in) { return masked_fill(in, lt(in, 0), 5); }},
      {"flip", [](const Tensor& in) { return flip(in, 2); }},
      {"split", [](const Tensor& in) { return split(in, {2}, 0)[0]; }},
      {"triu", [](const Tensor& in) { return triu(in, -1); }},
      {"roll", [](const Tensor& in) { return roll(in, 4, 0); }},
      {"tile",
       [](const Tensor& in) {
         return tile(in, {1, 1, 1, 1});
       }},
      {"sum",
       [](const Tensor& in) {
         return sum(in, {2, 3}, true);
       }},
      {"interpolate", [](const Tensor& in) { return interpolate(in, Scale(1)); }},
      {"max_pool2d", [](const Tensor& in) { return max_pool2d(in, {.kernel = 1}); }},
      {"avg_pool2d", [](const Tensor& in) { return avg_pool2d(in, {.kernel = 1}); }},
      {"clamp", [](const Tensor& in) { return clamp(in, -INFINITY, INFINITY); }},
      {"leaky_relu", [](const Tensor& in) { return leaky_relu(in, 1); }},
  };
  for (const auto& [name, call] : calls) {
    EXPECT_TRUE(same_bits(call(x), x)) << name;
    EXPECT_NE(call(x).identity(), x.identity()) << name;
    EXPECT_TRUE(same_bits(gradient(call, x, scalar(3)), full(x.shape(), 3))) << name;
  }
}

}  // namespace
}  // namespace norma
