// A program of a user: the umbrella header, an op, a gradient.
#include <norma/norma.h>

#include <cstdio>

#ifdef WITH_DATASETS
#include <norma/datasets/image_folder.h>
#endif

int main() {
#ifdef WITH_DATASETS
  try {
    norma::datasets::ImageFolder("/nowhere");
    return 2;
  } catch (const norma::Error& error) {
    std::printf("%s\n", error.what());
  }
#endif
  norma::Tensor x = norma::tensor<float>({-1, 2, 3});
  x.set_requires_grad();
  norma::Tape tape;
  const norma::Tensor y = norma::relu(x);
  tape.backward(y, {.seed = norma::ones({3})});
  std::printf("%d CUDA devices\n", norma::cuda::device_count());
  std::printf("%s\n", x.grad().str().c_str());
  return x.grad().to_vector<float>() == std::vector<float>{0, 1, 1} ? 0 : 1;
}
